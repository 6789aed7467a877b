"""`snn-temporal export` and `report`: from a checkpoint to hardware and to a page."""
