//! Our own numbers: one review, a batch, a training step, for several shapes. `cargo bench --bench kernel`

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use imdb_sentiment::kernel::{
    AlignedVec, BufferPool, GateTable, Isa, Projection, Recurrent, Sequence, Tape, TrainingInput,
    map_sigmoid, map_tanh,
};

#[path = "limit.rs"]
mod limit;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers between -0.5 and 0.5, the same on every run.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 16_777_216.0 - 0.5
        })
        .collect()
}

fn inference(criterion: &mut Criterion) {
    println!("multiply-add limit, 500 steps of 32 units: {:.2} µs", limit::multiply_add_limit(500, 32) * 1e6);
    for isa in Isa::available() {
        let mut group = criterion.benchmark_group(format!("500 steps, {}", isa.name()));
        for hidden in [32, 64, 128, 256] {
            let recurrent = Recurrent::new(isa, hidden, &numbers(4 * hidden * hidden));
            let projection = Projection::new(isa, hidden, 1, &vec![1.0; 4 * hidden], &numbers(4 * hidden));
            let words = numbers(10_000);
            let mut table = AlignedVec::zeros(words.len() * projection.gate_width());
            projection.run(words.chunks_exact(1), &mut table);
            let rows: Vec<u32> = (0..500u32).map(|step| step * 7919 % 10_000).collect();
            group.bench_function(format!("hidden {hidden}"), |bencher| {
                bencher.iter_batched_ref(
                    || [Sequence { rows: &rows, state: recurrent.zero_state(), output: None }],
                    |sequences| recurrent.run(GateTable { kept: &table, fresh: &[] }, sequences, false),
                    BatchSize::SmallInput,
                )
            });
        }
        group.finish();
    }
}

/// Six sequences side by side, as a batch runs.
fn batches(criterion: &mut Criterion) {
    for isa in Isa::available() {
        let mut group = criterion.benchmark_group(format!("6 times 500 steps, {}", isa.name()));
        for hidden in [32, 64, 128, 256] {
            let recurrent = Recurrent::new(isa, hidden, &numbers(4 * hidden * hidden));
            let table = aligned(&numbers(100 * 4 * hidden));
            let rows: Vec<u32> = (0..500u32).map(|step| step * 7919 % 100).collect();
            let sequence = || Sequence { rows: &rows, state: recurrent.zero_state(), output: None };
            group.bench_function(format!("hidden {hidden}"), |bencher| {
                bencher.iter_batched_ref(
                    || (0..6).map(|_| sequence()).collect::<Vec<_>>(),
                    |sequences| recurrent.run(GateTable { kept: &table, fresh: &[] }, sequences, false),
                    BatchSize::SmallInput,
                )
            });
        }
        group.finish();
    }
}

fn aligned(values: &[f32]) -> AlignedVec {
    let mut copy = AlignedVec::zeros(values.len());
    copy.copy_from_slice(values);
    copy
}

fn training(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("training step, 1 thread");
    for (hidden, batch) in [(32, 128), (128, 32), (256, 32)] {
        let (table, weight) = (numbers(1000 * 4 * hidden), numbers(4 * hidden * hidden));
        let bias = numbers(4 * hidden);
        let sequences: Vec<Vec<u32>> = (0..batch)
            .map(|n| (0..50 + n * 37 % 400).map(|step| (step * 31 + n) as u32 % 1000).collect())
            .collect();
        let steps: usize = sequences.iter().map(Vec::len).sum();
        let (pool, outward) = (BufferPool::default(), numbers(batch * hidden));
        group.throughput(Throughput::Elements(steps as u64));
        group.bench_function(format!("hidden {hidden}, {batch} reviews"), |bencher| {
            bencher.iter(|| {
                let input = TrainingInput {
                    hidden,
                    weight_hh: &weight,
                    table: &table,
                    bias: &bias,
                    sequences: &sequences,
                    prefix: None,
                    threads: 1,
                };
                Tape::forward(Isa::current(), input, &pool).backward_last(&outward, &pool)
            })
        });
    }
    group.finish();
}

fn activations(criterion: &mut Criterion) {
    let mut values = numbers(4096);
    for isa in Isa::available() {
        let mut group = criterion.benchmark_group(format!("4,096 values, {}", isa.name()));
        group.bench_function("sigmoid", |bencher| bencher.iter(|| map_sigmoid(isa, &mut values)));
        group.bench_function("tanh", |bencher| bencher.iter(|| map_tanh(isa, &mut values)));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = inference, batches, training, activations
}
criterion_main!(benches);
