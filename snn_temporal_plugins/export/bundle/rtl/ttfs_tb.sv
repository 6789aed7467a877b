// Runs networks on ttfs_core, as many samples of as many networks as there are.
//
// `+jobs=FILE` names a file with one folder a line. Each folder holds
//
//     mem/cfg.hex, mem/pe<p>/{route,wgt,tgt,thr}.hex   the memory images (SPEC.md)
//     in.hex      number of samples; of each sample the words {tick 16, id 16} of its
//                 input spikes, sorted, and ffffffff; the sum of all words before it
//
// and gets
//
//     events.csv     sample,layer,neuron,tick of every spike
//     samples.csv    sample,cycles,slope_overflow,potential_overflow
//
// Every word is counted and every checksum recomputed: a simulator reads a file that is
// too short without complaint. What is wrong ends the run with a line "REFUSED ...".
// A run that is complete ends with the line "DONE".
`timescale 1ns / 1ps
module ttfs_tb #(
    parameter int PES = 1,
    parameter int NEURONS = 16,
    parameter int WEIGHT_WORDS = 64,
    parameter int TARGET_WORDS = 1,
    parameter int ROUTE_WORDS = 16,
    parameter int EVENT_WORDS = 16,
    parameter int LAYERS = 4,
    parameter int WEIGHT_BITS = 8,
    parameter int SLOPE_BITS = 16,
    parameter int POTENTIAL_BITS = 24
);
    localparam logic [31:0] MAGIC = 32'h54544653, VERSION = 1;  // "TTFS"
    // Numbers of the images at the load port.
    localparam logic [2:0] NETWORK = 0, LAYER = 1, SLICE = 2, ROUTE = 3;

    logic clock = 0, reset = 1;
    always #5 clock <= !clock;

    logic load = 0;
    logic [15:0] load_pe = 0;
    logic [2:0] load_image = 0;
    logic [31:0] load_address = 0;
    logic [95:0] load_data = 0;
    logic start = 0, busy;
    logic in_valid = 0, in_ready;
    logic [31:0] in_word = 0;
    logic event_valid;
    logic [7:0] event_layer;
    logic [15:0] event_neuron, event_tick;
    logic slope_overflow, potential_overflow, unsorted;

    ttfs_core #(
        .PES(PES),
        .NEURONS(NEURONS),
        .WEIGHT_WORDS(WEIGHT_WORDS),
        .TARGET_WORDS(TARGET_WORDS),
        .ROUTE_WORDS(ROUTE_WORDS),
        .EVENT_WORDS(EVENT_WORDS),
        .LAYERS(LAYERS),
        .WEIGHT_BITS(WEIGHT_BITS),
        .SLOPE_BITS(SLOPE_BITS),
        .POTENTIAL_BITS(POTENTIAL_BITS)
    ) core (
        .in_tick(in_word[31:16]),
        .in_id(in_word[15:0]),
        .event_ready(1'b1),
        .*
    );

    // ------------------------------------------------------------------ reading
    string folder, path;  // the job, the file that is being read
    integer file;
    logic [31:0] sum;     // of the words read from it

    task refuse(input string reason);
        $display("REFUSED %0s: %0s", path, reason);
        $fatal(1);
    endtask

    task open(input string name);
        path = {folder, "/", name};
        sum = 0;
        file = $fopen(path, "r");
        if (file == 0) refuse("the file cannot be opened");
    endtask

    // One hex word; `sum` takes its parts of 32 bits.
    task read(output logic [95:0] word);
        if ($fscanf(file, "%h", word) != 1) refuse("a word is missing or not hexadecimal");
        if ((^word) === 1'bx) refuse("a digit is x or z");
        sum = sum + word[31:0] + word[63:32] + word[95:64];
    endtask

    task read32(output logic [31:0] word);
        logic [95:0] wide;
        read(wide);
        word = wide[31:0];
        if (wide[95:32] != 0) refuse("a word has more than 32 bits");
    endtask

    // The checksum of all words before it.
    task read_sum;
        logic [31:0] wanted, found;
        wanted = sum;
        read32(found);
        if (found != wanted) refuse("wrong checksum");
    endtask

    task close;
        if ($fgetc(file) != 10 || $fgetc(file) != -1)
            refuse("there are more words, or the last line has no end");
        $fclose(file);
    endtask

    // ------------------------------------------------------------------ loading
    task write(input logic [15:0] pe, input logic [2:0] image,
               input logic [31:0] address, input logic [95:0] data);
        load = 1;
        load_pe = pe;
        load_image = image;
        load_address = address;
        load_data = data;
        @(negedge clock);
        load = 0;
    endtask

    logic [31:0] image_words[4*PES], image_sums[4*PES];

    task load_network;
        logic [31:0] word, layers, step, neurons, slice, dense, first;
        open("mem/cfg.hex");
        read32(word);
        if (word != MAGIC) refuse("not a configuration of ttfs_core");
        read32(word);
        if (word != VERSION) refuse("unknown version");
        read32(word);
        write(0, NETWORK, 0, 96'(word));
        read32(layers);
        if (layers > LAYERS) refuse("more layers than this build of ttfs_core holds");
        write(0, NETWORK, 1, 96'(layers));
        read32(word);
        if (word != PES) refuse("images for another number of PEs");
        read32(word);
        write(0, NETWORK, 2, 96'(word));
        read32(word);  // the response of the network: each layer says its own below
        for (int l = 0; l < layers; l++) begin
            read32(step);
            read32(neurons);
            read32(slice);
            read32(dense);
            if (step > 1 || dense > 1) refuse("unknown kind of layer");
            write(0, LAYER, l, {neurons, slice, dense[15:0], step[15:0]});
            for (int p = 0; p < PES; p++) begin
                first = p * slice;
                word = first >= neurons ? 0 : neurons - first < slice ? neurons - first : slice;
                write(16'(p), SLICE, l, {64'b0, first[15:0], word[15:0]});
            end
        end
        for (int i = 0; i < 4 * PES; i++) begin
            read32(image_words[i]);
            read32(image_sums[i]);
        end
        read_sum;
        close;
        for (int p = 0; p < PES; p++) begin
            load_memory(p, 0, "route.hex", ROUTE_WORDS);
            load_memory(p, 1, "wgt.hex", WEIGHT_WORDS);
            load_memory(p, 2, "tgt.hex", TARGET_WORDS);
            load_memory(p, 3, "thr.hex", NEURONS);
        end
    endtask

    task load_memory(input int pe, input int image, input string name,
                     input logic [31:0] capacity);
        logic [95:0] word;
        logic [31:0] words;
        words = image_words[4*pe+image];
        open($sformatf("mem/pe%0d/%0s", pe, name));
        if (words > capacity) refuse("more words than this build of ttfs_core holds");
        for (logic [31:0] i = 0; i < words; i++) begin
            read(word);
            write(16'(pe), ROUTE + 3'(image), i, word);
        end
        if (words == 0) read(word);  // such a file has one word, 0
        if (sum != image_sums[4*pe+image]) refuse("wrong checksum");
        close;
    endtask

    // ------------------------------------------------------------------ running
    integer jobs, samples_file, events_file;
    string jobs_path;
    logic [31:0] samples, sample;
    longint cycles;
    logic taken;

    task run_samples;
        open("in.hex");
        read32(samples);
        events_file = $fopen({folder, "/events.csv"}, "w");
        samples_file = $fopen({folder, "/samples.csv"}, "w");
        if (events_file == 0 || samples_file == 0) refuse("the results cannot be written");
        read32(in_word);
        in_valid = 1;
        for (sample = 0; sample < samples; sample++) begin
            start = 1;
            @(negedge clock);
            start = 0;
            run_sample;
            if (unsorted) refuse("the spikes of a sample are not sorted by tick");
            $fdisplay(samples_file, "%0d,%0d,%0d,%0d", sample, cycles, slope_overflow,
                      potential_overflow);
        end
        in_valid = 0;
        // The word after the last sample is the checksum; `sum` has it already.
        if (in_word != sum - in_word) refuse("wrong checksum");
        close;
        $fclose(events_file);
        $fclose(samples_file);
    endtask

    // What the core takes and gives at an edge is what stands there before it. (An `always`
    // block would be shorter, but Verilator 5.006 may run a $fscanf in it twice.)
    task run_sample;
        cycles = 0;
        while (busy) begin
            @(posedge clock);
            cycles = cycles + 1;
            taken = in_ready;
            if (event_valid)
                $fdisplay(events_file, "%0d,%0d,%0d,%0d", sample, event_layer,
                          event_neuron, event_tick);
            @(negedge clock);
            if (taken) read32(in_word);
        end
    endtask

    initial begin
        if (!$value$plusargs("jobs=%s", jobs_path)) $fatal(1, "give +jobs=FILE");
        jobs = $fopen(jobs_path, "r");
        if (jobs == 0) $fatal(1, "the file of +jobs cannot be opened");
        repeat (2) @(negedge clock);
        reset = 0;
        while ($fscanf(jobs, "%s", folder) == 1) begin
            load_network;
            run_samples;
        end
        $display("DONE");
        $finish;
    end
endmodule
