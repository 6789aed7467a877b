// One processing element (PE): a slice of the neurons of every layer, and their synapses.
//
// A neuron has a slope G, a potential V and a flag `fired`. The PE has one adder, which
// does all the arithmetic of the network, and no multiplier:
//
//     VISIT, ramp        V += G, fire if V >= threshold and not fired yet
//     VISIT, step        fire if V >= threshold and not fired yet
//     ACCUMULATE, ramp   G += weight
//     ACCUMULATE, step   V += weight
//
// A ramp's V saturates at its lowest value and is frozen once the neuron has fired; with
// the widths that SPEC.md demands neither can change a spike. Everything else that does
// not fit sets a flag that stays set until the next `start`; it must read 0.
//
// Memories have one read port and one write port, both synchronous, so that block RAM
// holds them. Only the spike queue and the few words of `slices` are read at once.
//
//     cycle   VISIT                           ACCUMULATE (after `route`)
//     0       read G, V, threshold            read weight and target
//     1       add, compare, write, queue      read G, V
//     2                                       add, write
//
// The core leaves so much time between two phases that no read overtakes a write.
`timescale 1ns / 1ps
module ttfs_pe #(
    parameter int NEURONS = 16,        // of all layers together
    parameter int WEIGHT_WORDS = 64,
    parameter int TARGET_WORDS = 1,
    parameter int ROUTE_WORDS = 16,    // sources: inputs and neurons that others listen to
    parameter int EVENT_WORDS = 16,    // spikes of this slice of one layer in one tick
    parameter int LAYERS = 4,
    parameter int WEIGHT_BITS = 8,
    parameter int SLOPE_BITS = 16,
    parameter int POTENTIAL_BITS = 24
) (
    input logic clock,
    input logic reset,  // one cycle at least before the first `start`
    input logic start,  // a new sample: clears the flags and the queue

    // A memory keeps as many bits of an address, a word or a source as it has use for.
    /* verilator lint_off UNUSEDSIGNAL */

    // Load port; the core has chosen this PE.
    input logic        load,
    input logic [ 2:0] load_image,
    input logic [31:0] load_address,
    input logic [95:0] load_data,

    // The layer whose turn it is; `turn` comes one cycle before its first phase.
    input logic       turn,
    input logic [7:0] layer,
    input logic       step,
    input logic       dense,

    // VISIT of neuron `visit_index` of the slice, or its CLEAR.
    input logic        visit,
    input logic        clear,
    input logic [15:0] visit_index,

    // ACCUMULATE: `fetch` reads the route of a source, `route` starts its burst.
    input  logic        fetch,
    input  logic [31:0] source,
    input  logic        route,
    output logic [15:0] burst_length,
    /* verilator lint_on UNUSEDSIGNAL */

    // The spikes of the layer before, oldest first, as row-major indices in that layer.
    output logic        queued,
    output logic [15:0] queue_head,
    input  logic        queue_pop,

    output logic slope_overflow,
    output logic potential_overflow
);
    localparam int NEURON_AW = NEURONS > 1 ? $clog2(NEURONS) : 1;
    localparam int WEIGHT_AW = WEIGHT_WORDS > 1 ? $clog2(WEIGHT_WORDS) : 1;
    localparam int TARGET_AW = TARGET_WORDS > 1 ? $clog2(TARGET_WORDS) : 1;
    localparam int ROUTE_AW = ROUTE_WORDS > 1 ? $clog2(ROUTE_WORDS) : 1;
    localparam int LAYER_AW = LAYERS > 1 ? $clog2(LAYERS) : 1;
    localparam int QUEUE_AW = $clog2(2 * EVENT_WORDS);  // of this layer and the one before
    localparam int COUNT_BITS = NEURON_AW + 1;          // counts 0 .. NEURONS
    // One bit more than the widest operand, so that a sum itself is exact.
    localparam int WIDER = POTENTIAL_BITS > SLOPE_BITS ? POTENTIAL_BITS : SLOPE_BITS;
    localparam int SUM_BITS = (WIDER > WEIGHT_BITS ? WIDER : WEIGHT_BITS) + 1;

    // ------------------------------------------------------------------ memories
    logic [31:0] slices[LAYERS];  // {first neuron, number of neurons} of the slice
    logic [COUNT_BITS+TARGET_AW+WEIGHT_AW-1:0] routes[ROUTE_WORDS];
    logic signed [WEIGHT_BITS-1:0] weights[WEIGHT_WORDS];
    logic [NEURON_AW-1:0] targets[TARGET_WORDS];
    logic [POTENTIAL_BITS-1:0] thresholds[NEURONS];
    logic signed [SLOPE_BITS-1:0] slopes[NEURONS];
    logic [POTENTIAL_BITS:0] potentials[NEURONS];  // {fired, V}
    logic [15:0] queue[1 << QUEUE_AW];

    always_ff @(posedge clock)
        if (load)
            case (load_image)  // 0 and 1 belong to the core
                2: slices[load_address[LAYER_AW-1:0]] <= load_data[31:0];
                3:
                routes[load_address[ROUTE_AW-1:0]] <= {
                    load_data[64+:COUNT_BITS], load_data[32+:TARGET_AW], load_data[0+:WEIGHT_AW]
                };
                4: weights[load_address[WEIGHT_AW-1:0]] <= load_data[WEIGHT_BITS-1:0];
                5: targets[load_address[TARGET_AW-1:0]] <= load_data[NEURON_AW-1:0];
                6: thresholds[load_address[NEURON_AW-1:0]] <= load_data[POTENTIAL_BITS-1:0];
                default: ;
            endcase

    // ------------------------------------------------------------------ the slice
    logic [15:0] first, own;     // row-major index of its first neuron; its neurons
    logic [NEURON_AW-1:0] base;  // where it begins in the memories of this PE

    always_ff @(posedge clock)
        if (turn) begin
            {first, own} <= slices[layer[LAYER_AW-1:0]];
            base <= layer == 0 ? '0 : base + NEURON_AW'(own);
        end

    // ------------------------------------------------------------------ the burst
    logic [COUNT_BITS-1:0] route_count;
    logic [TARGET_AW-1:0] route_target;
    logic [WEIGHT_AW-1:0] route_weight;

    // Synapses that are left and where the next one is; what was read of the one before.
    logic [COUNT_BITS-1:0] left;
    logic [WEIGHT_AW-1:0] weight_address;
    logic [TARGET_AW-1:0] target_address;
    logic [NEURON_AW-1:0] number, synapse_number, synapse_target;
    logic signed [WEIGHT_BITS-1:0] synapse_weight;
    logic synapse;

    assign burst_length = 16'(route_count);

    always_ff @(posedge clock) begin
        if (fetch)
            {route_count, route_target, route_weight} <= routes[source[ROUTE_AW-1:0]];
        synapse <= left != 0;
        if (route) begin
            left <= route_count;
            weight_address <= route_weight;
            target_address <= route_target;
            number <= 0;
        end else if (left != 0) begin
            synapse_weight <= weights[weight_address];
            synapse_target <= targets[target_address];
            synapse_number <= number;
            left <= left - 1;
            weight_address <= weight_address + 1;
            target_address <= target_address + 1;
            number <= number + 1;
        end
        if (reset) begin
            left <= 0;
            synapse <= 0;
        end
    end

    // ------------------------------------------------------------------ a neuron is read
    logic [NEURON_AW-1:0] address, here;
    logic signed [SLOPE_BITS-1:0] slope;
    logic signed [POTENTIAL_BITS-1:0] potential, threshold;
    logic signed [WEIGHT_BITS-1:0] weight;
    logic [15:0] index;  // in the slice
    logic fired, do_clear, do_visit, do_add, is_step;

    assign address = base + (visit ? NEURON_AW'(visit_index)
                           : dense ? synapse_number : synapse_target);

    always_ff @(posedge clock) begin
        if (visit || synapse) begin
            slope <= slopes[address];
            {fired, potential} <= potentials[address];
            threshold <= thresholds[address];
            here <= address;
            weight <= synapse_weight;
            index <= visit_index;
            is_step <= step;
        end
        do_clear <= visit && clear && visit_index < own;  // the last slice may be shorter
        do_visit <= visit && !clear && visit_index < own;
        do_add <= synapse;
    end

    // ------------------------------------------------------------------ and updated
    localparam logic signed [POTENTIAL_BITS-1:0] LOWEST = {1'b1, {(POTENTIAL_BITS - 1) {1'b0}}};

    logic signed [SUM_BITS-1:0] augend, addend, sum;
    logic fits_slope, fits_potential, too_low, fire;
    logic signed [POTENTIAL_BITS-1:0] next_potential;

    assign augend = do_add && !is_step ? SUM_BITS'(slope) : SUM_BITS'(potential);
    assign addend = do_add ? SUM_BITS'(weight) : is_step ? '0 : SUM_BITS'(slope);
    assign sum = augend + addend;
    assign fits_slope = sum == SUM_BITS'($signed(sum[SLOPE_BITS-1:0]));
    assign fits_potential = sum == SUM_BITS'($signed(sum[POTENTIAL_BITS-1:0]));
    assign too_low = !fits_potential && sum[SUM_BITS-1];
    assign next_potential = too_low && !is_step ? LOWEST : sum[POTENTIAL_BITS-1:0];
    assign fire = do_visit && !fired && sum >= SUM_BITS'(threshold);

    always_ff @(posedge clock) begin
        if (do_clear) begin
            slopes[here] <= 0;
            potentials[here] <= 0;
        end else if (do_add && !is_step) begin
            slopes[here] <= sum[SLOPE_BITS-1:0];
            if (!fits_slope) slope_overflow <= 1;
        end else if (do_add || (do_visit && !fired)) begin
            potentials[here] <= {fired || fire, next_potential};
            if (!fits_potential && (is_step || !too_low)) potential_overflow <= 1;
        end
        if (start) begin
            slope_overflow <= 0;
            potential_overflow <= 0;
        end
    end

    // ------------------------------------------------------------------ the spike queue
    // A ring: spikes of the layer before from `oldest` to `boundary`, then those of this
    // layer up to `newest`. On `turn` the latter become the former.
    logic [QUEUE_AW-1:0] oldest, boundary, newest, after_newest;

    assign queued = oldest != boundary;
    assign queue_head = queue[oldest];
    assign after_newest = newest + QUEUE_AW'(fire);

    always_ff @(posedge clock) begin
        if (fire) begin
            queue[newest] <= first + index;
            newest <= after_newest;
        end
        if (turn) boundary <= after_newest;
        if (queue_pop) oldest <= oldest + 1;
        if (start) begin
            oldest <= 0;
            boundary <= 0;
            newest <= 0;
        end
    end
endmodule
