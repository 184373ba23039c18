//! The kernels against a plain f64 LSTM, on every instruction set that the machine has.

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// A layer's weights and a few sequences, in f64.
#[derive(Clone, Debug)]
struct Case {
    hidden: usize,
    table: Vec<f64>,
    weight: Vec<f64>,
    sequences: Vec<Vec<u32>>,
}

impl Case {
    fn random(hidden: usize, lengths: &[usize], seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut floats = |count: usize, scale: f64| -> Vec<f64> {
            (0..count).map(|_| (rng.random_range(-scale..scale) as f32) as f64).collect()
        };
        let rows = 7;
        let (table, weight) =
            (floats(rows * 4 * hidden, 1.5), floats(4 * hidden * hidden, 1.0 / (hidden as f64).sqrt()));
        let sequences =
            lengths.iter().map(|&n| (0..n).map(|_| rng.random_range(0..rows as u32)).collect()).collect();
        Self { hidden, table, weight, sequences }
    }

    /// Every hidden state of a sequence started from zero.
    fn states(&self, rows: &[u32]) -> Vec<Vec<f64>> {
        let n = self.hidden;
        let (mut h, mut c) = (vec![0f64; n], vec![0f64; n]);
        rows.iter()
            .map(|&row| {
                let z: Vec<f64> = (0..4 * n)
                    .map(|gate| {
                        let dot: f64 = self.weight[gate * n..][..n].iter().zip(&h).map(|(w, h)| w * h).sum();
                        self.table[row as usize * 4 * n + gate] + dot
                    })
                    .collect();
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                for u in 0..n {
                    c[u] = sigmoid(z[n + u]) * c[u] + sigmoid(z[u]) * z[2 * n + u].tanh();
                    h[u] = sigmoid(z[3 * n + u]) * c[u].tanh();
                }
                h.clone()
            })
            .collect()
    }

    /// A loss that weighs every last state (and every state, where `all`) differently.
    fn loss(&self, prefix: &[usize], all: bool) -> f64 {
        let mut sum = 0.0;
        for (index, rows) in self.sequences.iter().enumerate() {
            let skip = prefix.get(index).copied().unwrap_or(0);
            let whole: Vec<u32> = std::iter::repeat_n(0, skip).chain(rows.iter().copied()).collect();
            let states = self.states(&whole);
            for (step, state) in states.iter().enumerate() {
                let last = step + 1 == states.len();
                if (all && step >= skip) || (!all && last) {
                    let step = if all { step - skip } else { 0 };
                    sum += state.iter().enumerate().map(|(u, h)| h * weigh(index, step, u)).sum::<f64>();
                }
            }
        }
        sum
    }

    fn input<'a>(
        &'a self,
        narrow: &'a (Vec<f32>, Vec<f32>, Vec<f32>),
        prefix: Option<&'a [usize]>,
    ) -> TrainingInput<'a> {
        TrainingInput {
            hidden: self.hidden,
            weight_hh: &narrow.1,
            table: &narrow.0,
            bias: &narrow.2,
            sequences: &self.sequences,
            prefix: prefix.map(|lengths| (0, lengths)),
            threads: 2,
        }
    }

    /// Table, weight and a bias of zeros, in f32.
    fn narrow(&self) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        (
            self.table.iter().map(|&x| x as f32).collect(),
            self.weight.iter().map(|&x| x as f32).collect(),
            vec![0.0; 4 * self.hidden],
        )
    }
}

fn weigh(sequence: usize, step: usize, unit: usize) -> f64 {
    ((sequence * 31 + step * 7 + unit * 3) % 11) as f64 / 5.0 - 1.0
}

/// Rows of the table as the inference kernel wants them, through an identity projection.
fn panelled(isa: Isa, case: &Case) -> AlignedVec {
    let (hidden, gates) = (case.hidden, 4 * case.hidden);
    let identity: Vec<f32> =
        (0..gates * gates).map(|at| f32::from(u8::from(at / gates == at % gates))).collect();
    let projection = Projection::new(isa, hidden, gates, &identity, &vec![0.0; gates]);
    let (narrow, ..) = case.narrow();
    let mut table = AlignedVec::zeros(narrow.len() / gates * projection.gate_width());
    projection.run(narrow.chunks_exact(gates), &mut table);
    table
}

fn run(isa: Isa, case: &Case, table: &[f32], which: &[usize], reverse: bool) -> Vec<(Vec<f32>, Vec<f32>)> {
    let recurrent = Recurrent::new(isa, case.hidden, &case.narrow().1);
    let mut outputs: Vec<Vec<f32>> =
        which.iter().map(|&s| vec![f32::NAN; case.sequences[s].len() * case.hidden]).collect();
    let mut sequences: Vec<Sequence> = which
        .iter()
        .zip(&mut outputs)
        .map(|(&s, data)| Sequence {
            rows: &case.sequences[s],
            state: recurrent.zero_state(),
            output: Some(Output { data, stride: case.hidden }),
        })
        .collect();
    // Rows come from both parts of the table.
    let gates = layout::Panels::new(isa, case.hidden).gate_width();
    let (kept, fresh) = table.split_at(table.len() / gates / 3 * gates);
    recurrent.run(GateTable { kept, fresh }, &mut sequences, reverse);
    let last: Vec<Vec<f32>> = sequences.iter().map(|s| s.state.hidden().to_vec()).collect();
    last.into_iter().zip(outputs).collect()
}

fn close(actual: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (at, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((*a as f64 - e).abs() <= tolerance, "{what}: value {at} is {a}, expected {e}");
    }
}

/// How close inference comes to f64: where weights are held in 16 bits, what that rounds away.
fn tolerance(isa: Isa) -> f64 {
    if isa.quantizes_recurrent() { 2e-4 } else { 2e-6 }
}

const HIDDEN: [usize; 12] = [1, 3, 8, 15, 16, 17, 32, 48, 64, 65, 100, 128];

#[test]
fn inference_agrees_with_f64_forwards_and_backwards() {
    for isa in Isa::available() {
        for hidden in HIDDEN {
            let case = Case::random(hidden, &[9, 0, 1, 30, 2, 30, 17, 5], hidden as u64);
            let table = panelled(isa, &case);
            let which: Vec<usize> = (0..case.sequences.len()).collect();
            for reverse in [false, true] {
                for (s, (last, all)) in run(isa, &case, &table, &which, reverse).iter().enumerate() {
                    let what = format!("{isa:?} hidden {hidden} sequence {s} reverse {reverse}");
                    let mut rows = case.sequences[s].clone();
                    if reverse {
                        rows.reverse();
                    }
                    let mut states = case.states(&rows);
                    close(last, states.last().unwrap_or(&vec![0.0; hidden]), tolerance(isa), &what);
                    if reverse {
                        states.reverse();
                    }
                    close(all, &states.concat(), tolerance(isa), &what);
                }
            }
        }
    }
}

#[test]
fn batch_mates_change_no_bit() {
    for isa in Isa::available() {
        for hidden in [5, 32, 80, 129] {
            let case = Case::random(hidden, &[13, 4, 13, 40, 1, 22, 8, 8, 39], 5);
            let table = panelled(isa, &case);
            let which: Vec<usize> = (0..case.sequences.len()).collect();
            let together = run(isa, &case, &table, &which, false);
            for s in which {
                let alone = run(isa, &case, &table, &[s], false);
                assert_eq!(alone[0], together[s], "{isa:?} hidden {hidden} sequence {s}");
            }
        }
    }
}

#[test]
fn the_largest_layer_runs() {
    for isa in Isa::available() {
        let case = Case::random(1024, &[3, 2], 1);
        let tape = Tape::forward(isa, case.input(&case.narrow(), None), &BufferPool::default());
        let expected: Vec<f64> =
            case.sequences.iter().flat_map(|rows| case.states(rows)[rows.len() - 1].clone()).collect();
        close(&tape.last_states(), &expected, 5e-6, "hidden 1024");
    }
}

#[test]
fn extreme_weights_stay_finite() {
    for isa in Isa::available() {
        let mut case = Case::random(20, &[50], 3);
        case.table.iter_mut().for_each(|x| *x *= 1e30);
        case.weight.iter_mut().for_each(|x| *x *= 1e30);
        let table = panelled(isa, &case);
        let (last, all) = &run(isa, &case, &table, &[0], false)[0];
        assert!(last.iter().chain(all).all(|h| h.is_finite() && h.abs() <= 1.0), "{isa:?}");
    }
}

/// What `call` panics with; it has to.
fn refusal(call: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(call).expect_err("no panic");
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

#[test]
fn sizes_that_wrap_are_refused() {
    for isa in Isa::available() {
        let recurrent = Recurrent::new(isa, 4, &[0.1; 64]);
        let table = AlignedVec::zeros(Projection::new(isa, 4, 1, &[0.1; 16], &[0.0; 16]).gate_width());
        for stride in [usize::MAX, usize::MAX / 2 + 1, usize::MAX - 1, 3] {
            let text = refusal(|| {
                let mut data = [0.0; 16];
                let output = Some(Output { data: &mut data, stride });
                let state = recurrent.zero_state();
                let mut sequences = [Sequence { rows: &[0, 0, 0], state, output }];
                recurrent.run(GateTable { kept: &table, fresh: &[] }, &mut sequences, false);
            });
            assert!(text.contains("output that is too short"), "{stride}: {text}");
        }
        let text = refusal(|| {
            let state = recurrent.zero_state();
            let mut sequences = [Sequence { rows: &[0, 1], state, output: None }];
            recurrent.run(GateTable { kept: &table, fresh: &[] }, &mut sequences, false);
        });
        assert!(text.contains("outside the table"), "{text}");
        for hidden in [0, 1 << 62, usize::MAX] {
            assert!(refusal(|| drop(Recurrent::new(isa, hidden, &[]))).contains("hidden units"));
            assert!(refusal(|| drop(Projection::new(isa, hidden, 1, &[], &[]))).contains("hidden units"));
        }
        assert!(refusal(|| drop(Projection::new(isa, 4, 1 << 60, &[], &[0.0; 16]))).contains("input weight"));
        refusal(|| drop(SkipGram::new(isa, usize::MAX - 3, &[])));
        refusal(|| drop(SkipGram::new(isa, 1 << 60, &[])));
    }
}

/// Central differences of the f64 reference against the way back, for a sample of weights.
fn check_gradients(isa: Isa, case: &Case, prefix: Option<&[usize]>, all: bool) {
    let narrow = case.narrow();
    let pool = BufferPool::default();
    let what = format!("{isa:?} hidden {} prefix {prefix:?} all {all}", case.hidden);
    let tape = Tape::forward(isa, case.input(&narrow, prefix), &pool);
    let mut outward = Vec::new();
    for (s, rows) in case.sequences.iter().enumerate() {
        for step in 0..if all { rows.len() } else { 1 } {
            outward.extend((0..case.hidden).map(|u| weigh(s, step, u) as f32));
        }
    }
    let states = if all { tape.all_states(false) } else { tape.last_states() };
    let loss: f64 = states.iter().zip(&outward).map(|(h, w)| *h as f64 * *w as f64).sum();
    let lengths = prefix.unwrap_or(&[]);
    let exact = case.loss(lengths, all);
    assert!(
        (loss - exact).abs() < 1e-5 * (1.0 + exact.abs()) * case.hidden as f64,
        "{what}: loss {loss}, {exact}"
    );
    let gradients =
        if all { tape.backward_all(&outward, false, &pool) } else { tape.backward_last(&outward, &pool) };
    let check = |pick: fn(&mut Case) -> &mut Vec<f64>, actual: &[f32], name: &str| {
        let scale = actual.iter().fold(1e-2f32, |top, g| top.max(g.abs())) as f64;
        for at in (0..actual.len()).step_by(1 + actual.len() / 60) {
            let mut moved = case.clone();
            pick(&mut moved)[at] += 1e-5;
            let up = moved.loss(lengths, all);
            pick(&mut moved)[at] -= 2e-5;
            let slope = (up - moved.loss(lengths, all)) / 2e-5;
            let gap = (slope - actual[at] as f64).abs();
            assert!(gap <= 1e-4 * scale, "{what}: {name}[{at}] is {}, slope {slope}", actual[at]);
        }
    };
    check(|case| &mut case.table, &gradients.table, "table");
    check(|case| &mut case.weight, &gradients.weight_hh, "weight_hh");
}

#[test]
fn gradients_agree_with_finite_differences() {
    for isa in Isa::available() {
        for hidden in [1, 7, 16, 33, 70] {
            let case = Case::random(hidden, &[4, 0, 9, 1, 6, 9, 3, 2], 11);
            check_gradients(isa, &case, None, false);
            check_gradients(isa, &case, None, true);
            check_gradients(isa, &case, Some(&[3, 5, 0, 12, 1, 2, 2, 7]), false);
        }
    }
}

#[test]
fn states_read_backwards_are_those_of_the_reversed_rows() {
    for isa in Isa::available() {
        let case = Case::random(19, &[5, 8, 1, 0, 3, 3, 9], 2);
        let tape = Tape::forward(isa, case.input(&case.narrow(), None), &BufferPool::default());
        let expected: Vec<f64> = case
            .sequences
            .iter()
            .flat_map(|rows| case.states(rows).into_iter().rev().flatten().collect::<Vec<_>>())
            .collect();
        close(&tape.all_states(true), &expected, 2e-6, "reverse");
    }
}

#[test]
fn threads_change_no_bit_of_a_gradient() {
    let case = Case::random(32, &(0..40).map(|n| n * 7 % 23).collect::<Vec<_>>(), 9);
    let narrow = case.narrow();
    let outward: Vec<f32> = (0..40 * 32).map(|at| weigh(at, 0, 0) as f32).collect();
    let lengths: Vec<usize> = (0..40).map(|n| n * 5 % 17).collect();
    let results: Vec<(Vec<f32>, Vec<f32>)> = [1, 2, 5]
        .map(|threads| {
            let input = TrainingInput { threads, ..case.input(&narrow, Some(&lengths)) };
            let pool = BufferPool::default();
            let gradients = Tape::forward(Isa::current(), input, &pool).backward_last(&outward, &pool);
            (gradients.table, gradients.weight_hh)
        })
        .to_vec();
    assert!(results.iter().all(|result| *result == results[0]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// The shared prefix gives what running over every padding gives, both ways.
    #[test]
    fn the_prefix_is_the_padded_run(
        padding in prop::collection::vec(0usize..=500, 1..6), hidden in prop::sample::select(vec![4usize, 32]), seed: u64,
    ) {
        let padding: Vec<usize> = padding.into_iter().chain([0, 500]).collect();
        let lengths: Vec<usize> = padding.iter().map(|padding| 500 - padding).collect();
        let shared = Case::random(hidden, &lengths, seed);
        let mut padded = shared.clone();
        for (rows, &padding) in padded.sequences.iter_mut().zip(&padding) {
            rows.splice(0..0, std::iter::repeat_n(0, padding));
        }
        let (narrow, pool, isa) = (shared.narrow(), BufferPool::default(), Isa::current());
        let outward: Vec<f32> = (0..padding.len() * hidden).map(|at| weigh(at, 1, 2) as f32).collect();
        let short = Tape::forward(isa, shared.input(&narrow, Some(&padding)), &pool);
        let long = Tape::forward(isa, padded.input(&narrow, None), &pool);
        for (a, b) in short.last_states().iter().zip(long.last_states()) {
            prop_assert!((a - b).abs() <= 1e-6);
        }
        let (short, long) = (short.backward_last(&outward, &pool), long.backward_last(&outward, &pool));
        let pairs = short.table.iter().zip(&long.table).chain(short.weight_hh.iter().zip(&long.weight_hh));
        let scale = long.weight_hh.iter().chain(&long.table).fold(1f32, |top, g| top.max(g.abs()));
        for (a, b) in pairs {
            prop_assert!((a - b).abs() <= 1e-6 * scale, "{} {} {}", a, b, scale);
        }
    }
}
