// An array of PES equal processing elements, time-shared over the layers of one network.
//
// Sequence of one sample:
//
//     clear pass:  each layer: NEXT, VISIT (clears)
//     each tick:   each layer: NEXT, VISIT, NEXT, FETCH...   (ramp: FIRE, ACCUMULATE)
//                          or: NEXT, FETCH..., NEXT, VISIT   (step: ACCUMULATE, FIRE)
//                  NEXT, FETCH...                            (spikes of the last layer leave)
//     FINISH                                                 (takes the end of the input)
//
//     NEXT    1 cycle: the pipeline runs empty, the next phase is chosen
//     VISIT   one neuron of each PE's slice a cycle, all PEs in lockstep
//     FETCH   1 cycle for each spike of the layer before (or the input), 1 to find no more
//     ROUTE   1 cycle for each such spike: each PE looks up its burst
//     BURST   one synapse of each PE a cycle, until the longest burst is over
//
// A layer sees the spikes of the layer before in the same tick. With T ticks, layers of
// n_l neurons in slices of s_l = ceil(n_l / PES), and a host that never keeps it waiting,
// a sample takes exactly
//
//     cycles = sum over layers (s_l + 1)  +  T * (2 + sum over layers (s_l + 3))
//            + sum over spikes into layers (2 + longest burst of its source)
//            + spikes of the last layer  +  1
//
// from the edge that takes `start` to the one after which `busy` is 0.
//
// The host feeds the spikes of the input sorted by tick: no cycle is spent on looking for
// them. `in_tick` = 65535 ends a sample.
`timescale 1ns / 1ps
module ttfs_core #(
    parameter int PES = 1,
    parameter int NEURONS = 16,  // this and the next: capacities of one PE, see ttfs_pe
    parameter int WEIGHT_WORDS = 64,
    parameter int TARGET_WORDS = 1,
    parameter int ROUTE_WORDS = 16,
    parameter int EVENT_WORDS = 16,
    parameter int LAYERS = 4,
    parameter int WEIGHT_BITS = 8,
    parameter int SLOPE_BITS = 16,
    parameter int POTENTIAL_BITS = 24
) (
    input logic clock,
    input logic reset,

    // Load port, only while not busy. Images and their words:
    //   0 network    address 0: ticks, 1: layers, 2: inputs
    //   1 layers     address = layer: {neurons 32, slice 32, dense 16, step 16}
    //   2 slices     address = layer: {first neuron 16, number of neurons 16} in load_pe
    //   3 route  4 weight  5 target  6 threshold: as in the files of load_pe
    input logic        load,
    input logic [15:0] load_pe,
    input logic [ 2:0] load_image,
    input logic [31:0] load_address,
    input logic [95:0] load_data,

    input  logic start,  // taken while not busy
    output logic busy,

    // Spikes of the input, sorted by tick, then {65535, any}.
    input  logic        in_valid,
    output logic        in_ready,
    input  logic [15:0] in_tick,
    input  logic [15:0] in_id,

    // Spikes of all layers; of each layer and tick in row-major order.
    output logic        event_valid,
    input  logic        event_ready,
    output logic [ 7:0] event_layer,
    output logic [15:0] event_neuron,
    output logic [15:0] event_tick,

    // Of this sample; all must be 0. Unsorted: a spike of the input came too late.
    output logic slope_overflow,
    output logic potential_overflow,
    output logic unsorted
);
    localparam int LAYER_AW = LAYERS > 1 ? $clog2(LAYERS) : 1;
    localparam logic [15:0] END = 16'hffff;

    // ------------------------------------------------------------------ the network
    logic [15:0] ticks;
    logic [ 7:0] layers;
    logic [31:0] inputs;
    logic [49:0] shapes[LAYERS];

    always_ff @(posedge clock) begin
        if (load && load_image == 0 && load_address == 0) ticks <= load_data[15:0];
        if (load && load_image == 0 && load_address == 1) layers <= load_data[7:0];
        if (load && load_image == 0 && load_address == 2) inputs <= load_data[31:0];
        if (load && load_image == 1)
            shapes[load_address[LAYER_AW-1:0]] <= {
                load_data[95:64], load_data[47:32], load_data[16], load_data[0]
            };
    end

    // ------------------------------------------------------------------ the sequence
    localparam logic [2:0] IDLE = 0, NEXT = 1, VISIT = 2, FETCH = 3, ROUTE = 4, BURST = 5,
        FINISH = 6;
    logic [2:0] state;
    logic clearing;        // in the clear pass
    logic second;          // in the second phase of the layer
    logic [15:0] tick;
    logic [7:0] layer;     // `layers`: the spikes of the last layer leave
    logic [15:0] index;    // in the slice
    logic [15:0] left;     // cycles of this burst
    logic [31:0] source_base, sources;  // of this layer: id of the first one, how many

    logic [31:0] neurons;
    logic [15:0] slice;
    logic dense, step;
    assign {neurons, slice, dense, step} = shapes[layer[LAYER_AW-1:0]];

    logic leaving;  // the last layer has been computed
    assign leaving = layer == layers;

    // What FETCH finds: a spike, or that there is none (or neither: it waits for the host).
    logic [PES-1:0] queued, queue_pop;
    logic [15:0] queue_head;
    logic [15:0] spike;
    logic found, none, take;
    assign spike = layer == 0 ? in_id : queue_head;
    assign found = layer == 0 ? in_valid && in_tick == tick : |queued;
    assign none = layer == 0 ? in_valid && in_tick != tick : ~|queued;
    assign take = state == FETCH && found && (layer == 0 || event_ready);

    assign busy = state != IDLE;
    assign in_ready = state == FINISH || (state == FETCH && layer == 0 && in_tick == tick);
    assign event_valid = state == FETCH && layer != 0 && found;
    assign event_layer = layer - 1;
    assign event_neuron = queue_head;
    assign event_tick = tick;

    always_ff @(posedge clock) begin
        case (state)
            IDLE:
            if (start) begin
                state <= NEXT;
                clearing <= 1;
                second <= 0;
                tick <= 0;
                layer <= 0;
                unsorted <= 0;
            end
            NEXT: begin
                index <= 0;
                if (layer == 0 && !second) begin
                    source_base <= 0;
                    sources <= inputs;
                end
                state <= clearing || (!leaving && step == second) ? VISIT : FETCH;
            end
            VISIT: begin
                index <= index + 1;
                if (index + 1 == slice) begin
                    state <= NEXT;
                    if (clearing) begin
                        clearing <= layer + 1 != layers;
                        layer <= layer + 1 == layers ? 0 : layer + 1;
                    end else if (second) next_layer;
                    else second <= 1;
                end
            end
            FETCH:
            if (take) state <= leaving ? FETCH : ROUTE;
            else if (none) begin
                state <= NEXT;
                if (leaving) begin
                    layer <= 0;
                    tick <= tick + 1;
                    if (tick + 1 == ticks) state <= FINISH;
                end else if (second) next_layer;
                else second <= 1;
            end
            ROUTE: begin
                left <= longest;
                state <= longest == 0 ? FETCH : BURST;
            end
            BURST: begin
                left <= left - 1;
                if (left == 1) state <= FETCH;
            end
            default:  // FINISH
            if (in_valid) begin
                if (in_tick == END) state <= IDLE;
                else unsorted <= 1;
            end
        endcase
        if (reset) state <= IDLE;
    end

    // Sources are numbered on from layer to layer, the inputs first.
    task automatic next_layer;
        second <= 0;
        layer <= layer + 1;
        source_base <= source_base + sources;
        sources <= neurons;
    endtask

    // ------------------------------------------------------------------ the array
    logic [PES-1:0] slope_overflows, potential_overflows;
    logic [16*PES-1:0] queue_heads, burst_lengths;
    logic [15:0] longest;

    assign slope_overflow = |slope_overflows;
    assign potential_overflow = |potential_overflows;

    always_comb begin
        // The first PE that has a spike: slices, and so neurons, come in order.
        queue_head = 0;
        queue_pop = 0;
        for (int p = PES - 1; p >= 0; p--)
            if (queued[p]) begin
                queue_head = queue_heads[16*p+:16];
                queue_pop = 0;
                queue_pop[p] = take && layer != 0;
            end
        longest = 0;
        for (int p = 0; p < PES; p++)
            if (burst_lengths[16*p+:16] > longest) longest = burst_lengths[16*p+:16];
    end

    for (genvar p = 0; p < PES; p++) begin : g_pe
        ttfs_pe #(
            .NEURONS(NEURONS),
            .WEIGHT_WORDS(WEIGHT_WORDS),
            .TARGET_WORDS(TARGET_WORDS),
            .ROUTE_WORDS(ROUTE_WORDS),
            .EVENT_WORDS(EVENT_WORDS),
            .LAYERS(LAYERS),
            .WEIGHT_BITS(WEIGHT_BITS),
            .SLOPE_BITS(SLOPE_BITS),
            .POTENTIAL_BITS(POTENTIAL_BITS)
        ) pe (
            .clock,
            .reset,
            .start(start && !busy),
            .load(load && load_pe == 16'(p)),
            .load_image,
            .load_address,
            .load_data,
            .turn(state == NEXT && !second),
            .layer,
            .step,
            .dense,
            .visit(state == VISIT),
            .clear(clearing),
            .visit_index(index),
            .fetch(take),
            .source(source_base + 32'(spike)),
            .route(state == ROUTE),
            .burst_length(burst_lengths[16*p+:16]),
            .queued(queued[p]),
            .queue_head(queue_heads[16*p+:16]),
            .queue_pop(queue_pop[p]),
            .slope_overflow(slope_overflows[p]),
            .potential_overflow(potential_overflows[p])
        );
    end
endmodule
