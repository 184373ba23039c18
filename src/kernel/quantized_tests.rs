//! The kernels of 8 bits on every instruction set against plain whole numbers, bit by bit, and against a plain LSTM.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::kernel::loops::int8::{INPUT_SIGMOID, SIGMOID, TANH, Table};

/// A layer's weights and a few sequences.
struct Case {
    hidden: usize,
    inputs: usize,
    weight_ih: Vec<f32>,
    weight_hh: Vec<f32>,
    bias: Vec<f32>,
    words: Vec<Vec<f32>>,
    sequences: Vec<Vec<u32>>,
}

impl Case {
    fn random(hidden: usize, lengths: &[usize], size: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let inputs = 5 + hidden % 4;
        let mut floats = |count: usize, size: f32| -> Vec<f32> {
            (0..count).map(|_| rng.random_range(-size..=size)).collect()
        };
        let (weight_ih, bias) = (floats(4 * hidden * inputs, size), floats(4 * hidden, 0.5 * size));
        let weight_hh = floats(4 * hidden * hidden, size * 2.0 / (hidden as f32).sqrt());
        let words: Vec<Vec<f32>> = (0..9).map(|_| floats(inputs, 1.0)).collect();
        let sequences =
            lengths.iter().map(|&n| (0..n).map(|_| rng.random_range(0..9u32)).collect()).collect();
        Self { hidden, inputs, weight_ih, weight_hh, bias, words, sequences }
    }

    fn layers(&self, isa: Isa) -> (Int8Projection, Int8Recurrent) {
        let projection = Int8Projection::new(isa, self.hidden, self.inputs, &self.weight_ih, &self.bias);
        (projection, Int8Recurrent::new(isa, self.hidden, &self.weight_hh))
    }
}

fn input_of(rows: &[Vec<f32>]) -> Int8Input {
    let mut input = Int8Input::default();
    input.restart(rows.first().map_or(0, Vec::len));
    rows.iter().for_each(|row| input.push(row));
    input
}

/// What became of a sequence.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    states: Vec<f32>,
    max: Vec<f32>,
    mean: Vec<f32>,
    last: Vec<f32>,
    cell: Vec<f32>,
}

fn run(isa: Isa, case: &Case, which: &[usize], reverse: bool, with_states: bool) -> Vec<Made> {
    let (projection, recurrent) = case.layers(isa);
    let mut table = AlignedWords::zeros(case.words.len() * projection.row_width());
    projection.run(&input_of(&case.words), &mut table);
    let (kept, fresh) = table.split_at(4 * projection.row_width());
    let stride = case.hidden + 3;
    let lengths = which.iter().map(|&s| case.sequences[s].len());
    let mut states: Vec<Vec<f32>> =
        lengths.map(|length| vec![f32::NAN; if with_states { length * stride } else { 0 }]).collect();
    let mut sequences: Vec<Int8Sequence> = which
        .iter()
        .zip(&mut states)
        .map(|(&s, data)| Int8Sequence {
            rows: &case.sequences[s],
            state: recurrent.zero_state(),
            pool: Some(recurrent.empty_pool()),
            output: with_states.then_some(Output { data, stride }),
        })
        .collect();
    recurrent.run(GateWords { kept, fresh }, &mut sequences, reverse);
    let made: Vec<Made> = sequences
        .iter()
        .map(|sequence| {
            let (max, mean) = recurrent.max_and_mean(sequence.pool.as_ref().unwrap());
            let last = sequence.state.hidden(case.hidden).collect();
            Made { states: Vec::new(), max, mean, last, cell: recurrent.cell(&sequence.state) }
        })
        .collect();
    let dense = |data: &[f32]| data.chunks(stride).flat_map(|row| row[..case.hidden].to_vec()).collect();
    made.into_iter().zip(&states).map(|(made, data)| Made { states: dense(data), ..made }).collect()
}

/// The same in plain whole numbers, one unit after the other, written from the description alone.
mod reference {
    use super::*;
    fn saturate(value: i64) -> i64 {
        value.clamp(-32768, 32767)
    }

    fn mul_round(a: i64, b: i64) -> i64 {
        (a * b + 16384).div_euclid(32768)
    }

    /// `table` at `x`, of which 1/15 of 2^15 is an interval.
    pub fn activation(table: &Table, x: i64) -> i64 {
        let interval = (15 * x + 16384).div_euclid(32768);
        // In halves of an interval from its middle, 2^15 of them each; what wraps around is half an interval.
        let distance = 2 * (15 * x - 32768 * interval);
        let [c0, c1, c2] = table.map(|row| i64::from(row[interval.rem_euclid(32) as usize]));
        c0 + mul_round(distance, c1 + mul_round(distance, c2))
    }

    /// Weights of a gate in 8 bits and the shift of their sums.
    fn round_row(row: &[f32], scale: f32) -> (Vec<i64>, u32) {
        let largest = row.iter().fold(0f32, |most, w| most.max((w * scale).abs()));
        let shift =
            (0..=24u32).rev().find(|&shift| f64::from(largest) * 32.0 * 2f64.powi(shift as i32) < 127.5);
        let shift = shift.unwrap_or(0);
        let unit = 32.0 * 2f64.powi(shift as i32);
        (row.iter().map(|w| ((f64::from(w * scale) * unit).round() as i64).clamp(-127, 127)).collect(), shift)
    }

    fn gate_scale(row: usize, hidden: usize) -> f32 {
        if row / hidden == 2 { 2.0 } else { 0.8 }
    }

    fn project(case: &Case, word: &[f32]) -> Vec<i64> {
        let largest = word.iter().fold(0f32, |most, x| most.max(x.abs()));
        let one = largest / 8191.0;
        let factor = if one.is_normal() { 1.0 / one } else { 0.0 };
        let input: Vec<i64> = word.iter().map(|x| (x * factor).round() as i64).collect();
        (0..4 * case.hidden)
            .map(|row| {
                let weights = &case.weight_ih[row * case.inputs..][..case.inputs];
                let scale = gate_scale(row, case.hidden);
                let sum: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
                let most = weights.iter().fold(0f32, |most, w| most.max(w.abs()));
                let unit = (sum as f32 / 258_000.0).max(most / 32767.0);
                let rounded = weights.iter().map(|w| if unit == 0.0 { 0 } else { (w / unit).round() as i64 });
                let dot: i64 = rounded.zip(&input).map(|(w, x)| w * x).sum();
                let value = dot as f32 * (unit * scale * 4096.0) * one + case.bias[row] * scale * 4096.0;
                saturate(value.clamp(-1e9, 1e9).round_ties_even() as i64)
            })
            .collect()
    }

    pub fn run(case: &Case, rows: &[u32], reverse: bool) -> Made {
        let n = case.hidden;
        let weights: Vec<(Vec<i64>, u32)> =
            (0..4 * n).map(|row| round_row(&case.weight_hh[row * n..][..n], gate_scale(row, n))).collect();
        let table: Vec<Vec<i64>> = case.words.iter().map(|word| project(case, word)).collect();
        let (mut h, mut c) = (vec![0i64; n], vec![0i64; n]);
        let mut states = vec![0f32; rows.len() * n];
        let (mut max, mut sum) = (vec![i64::from(i16::MIN); n], vec![0i64; n]);
        for step in 0..rows.len() {
            let position = if reverse { rows.len() - 1 - step } else { step };
            let x = &table[rows[position] as usize];
            let bytes: Vec<i64> = h.iter().map(|h| (h + 128).min(32767) >> 8).collect();
            let gate = |row: usize| {
                let (weights, shift) = &weights[row];
                let dot: i64 = weights.iter().zip(&bytes).map(|(w, h)| w * h).sum();
                let half = (1i64 << shift) >> 1;
                let table = [&INPUT_SIGMOID, &SIGMOID, &TANH, &SIGMOID][row / n];
                activation(table, saturate(saturate((dot + half) >> shift) + x[row]))
            };
            let next: Vec<(i64, i64)> = (0..n)
                .map(|u| {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|which| gate(which * n + u));
                    let c = saturate(mul_round(f, c[u]) + mul_round(i, g));
                    (mul_round(o, activation(&TANH, saturate(2 * c))), c)
                })
                .collect();
            for (u, (next_h, next_c)) in next.into_iter().enumerate() {
                (h[u], c[u]) = (next_h, next_c);
                (max[u], sum[u]) = (max[u].max(next_h), sum[u] + next_h);
                states[position * n + u] = next_h as f32 / 32768.0;
            }
        }
        let mean = |sum: &i64| (*sum as f64 / (32768.0 * rows.len() as f64)) as f32;
        Made {
            states,
            max: max.iter().map(|&h| h as f32 / 32768.0).collect(),
            mean: sum.iter().map(mean).collect(),
            last: h.iter().map(|&h| h as f32 / 32768.0).collect(),
            cell: c.iter().map(|&c| c as f32 / 4096.0).collect(),
        }
    }
}

const LENGTHS: [usize; 21] = [9, 1, 30, 2, 30, 17, 5, 8, 8, 31, 3, 12, 25, 25, 4, 19, 7, 16, 11, 22, 6];

#[test]
fn rows_of_the_table_are_the_same_bits_on_every_instruction_set() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for (hidden, inputs) in [(32, 1), (33, 63), (64, 64), (128, 128), (40, 130), (32, 512), (32, 520)] {
        let mut floats = |count: usize| -> Vec<f32> {
            // Some as large as they may be in 16 bits, so that the sums of their bytes are too.
            (0..count).map(|_| rng.random_range(-1.5f32..=1.5).clamp(-1.0, 1.0)).collect()
        };
        let (weight_ih, bias) = (floats(4 * hidden * inputs), floats(4 * hidden));
        for rows in [1, 3, 4, 15, 16, 17, 19, 36] {
            let input = input_of(&(0..rows).map(|_| floats(inputs)).collect::<Vec<_>>());
            let table = |isa: Isa| {
                let projection = Int8Projection::new(isa, hidden, inputs, &weight_ih, &bias);
                let mut table = AlignedWords::zeros(rows * projection.row_width());
                projection.run(&input, &mut table);
                table.to_vec()
            };
            let expected = table(Isa::available().pop().expect("the portable one"));
            assert!(expected.iter().any(|&word| word != 0));
            for isa in Isa::available() {
                assert!(table(isa) == expected, "{isa:?}: {rows} rows of {inputs} inputs, {hidden} units");
            }
        }
    }
}

#[test]
fn every_instruction_set_makes_the_bits_of_plain_whole_numbers() {
    for (hidden, size) in [(1, 1.0), (7, 3.0), (32, 1.0), (33, 0.01), (64, 8.0), (100, 1.0), (128, 1.0)] {
        let case = Case::random(hidden, &LENGTHS, size, hidden as u64);
        let all: Vec<usize> = (0..LENGTHS.len()).collect();
        for reverse in [false, true] {
            let expected: Vec<Made> =
                case.sequences.iter().map(|rows| reference::run(&case, rows, reverse)).collect();
            for isa in Isa::available() {
                let actual = run(isa, &case, &all, reverse, true);
                for (s, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
                    assert!(
                        actual == expected,
                        "{isa:?} hidden {hidden} sequence {s} reverse {reverse}: {actual:?} {expected:?}"
                    );
                }
                // Without the states written out, what is made of them is the same.
                let short = run(isa, &case, &all, reverse, false);
                for (short, expected) in short.iter().zip(&expected) {
                    assert_eq!(short, &Made { states: Vec::new(), ..expected.clone() }, "{isa:?} {hidden}");
                }
            }
        }
    }
}

#[test]
fn batch_mates_change_no_bit_of_8_bits() {
    for isa in Isa::available() {
        for hidden in [5, 48, 129] {
            let case = Case::random(hidden, &LENGTHS, 1.0, 3);
            let all: Vec<usize> = (0..LENGTHS.len()).collect();
            let together = run(isa, &case, &all, false, false);
            for s in all {
                let alone = run(isa, &case, &[s], false, false);
                assert_eq!(alone[0], together[s], "{isa:?} hidden {hidden} sequence {s}");
            }
        }
    }
}

#[test]
fn eight_bits_come_close_to_the_lstm() {
    let isa = Isa::available()[0];
    let case = Case::random(64, &[40, 25], 1.0, 8);
    for (s, made) in run(isa, &case, &[0, 1], false, true).iter().enumerate() {
        let n = case.hidden;
        let (mut h, mut c) = (vec![0f64; n], vec![0f64; n]);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for (step, &word) in case.sequences[s].iter().enumerate() {
            let z: Vec<f64> = (0..4 * n)
                .map(|row| {
                    let dot = |w: &[f32], x: &mut dyn Iterator<Item = f64>| -> f64 {
                        w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum()
                    };
                    let inputs = &case.weight_ih[row * case.inputs..][..case.inputs];
                    let words = &case.words[word as usize];
                    f64::from(case.bias[row])
                        + dot(inputs, &mut words.iter().map(|&x| f64::from(x)))
                        + dot(&case.weight_hh[row * n..][..n], &mut h.iter().copied())
                })
                .collect();
            for u in 0..n {
                c[u] = sigmoid(z[n + u]) * c[u] + sigmoid(z[u]) * z[2 * n + u].tanh();
                h[u] = sigmoid(z[3 * n + u]) * c[u].tanh();
                let gap = (f64::from(made.states[step * n + u]) - h[u]).abs();
                assert!(gap < 0.03, "sequence {s} step {step} unit {u}: off by {gap}");
            }
        }
    }
}

#[test]
fn activations_of_whole_numbers_are_as_close_as_stated() {
    assert_eq!(reference::activation(&TANH, 0), 0);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x / 3276.8).exp());
    for x in -32768..=32767i64 {
        let close =
            |name: &str, table: &Table, exact: f64, off: f64, range: std::ops::RangeInclusive<i64>| {
                let value = reference::activation(table, x);
                assert!(
                    range.contains(&value) && (value as f64 - exact).abs() <= off,
                    "{name}({x}): {value}, {exact}"
                );
            };
        close("tanh", &TANH, 32768.0 * (x as f64 / 8192.0).tanh(), 6.9, -32767..=32767);
        close("sigmoid", &SIGMOID, 32768.0 * sigmoid(x as f64), 6.7, -1..=32767);
        close("sigmoid of the input", &INPUT_SIGMOID, 4096.0 * sigmoid(x as f64), 2.0, -1..=4096);
    }
}

#[test]
fn extremes_of_8_bits_stay_in_range_and_wrapping_sizes_are_refused() {
    for isa in Isa::available() {
        let mut case = Case::random(20, &[50, 3], 1.0, 4);
        for weights in [&mut case.weight_ih, &mut case.weight_hh, &mut case.bias] {
            weights.iter_mut().for_each(|w| *w *= 1e6);
        }
        case.words[3].fill(0.0);
        case.words[4].iter_mut().for_each(|x| *x *= 1e6);
        for (s, made) in run(isa, &case, &[0, 1], false, true).iter().enumerate() {
            assert_eq!(made, &reference::run(&case, &case.sequences[s], false), "{isa:?}");
            assert!(made.states.iter().all(|h| h.abs() <= 1.0), "{isa:?}");
        }
        let recurrent = Recurrent8::of(isa);
        for (rows, stride) in [(&[0u32, 0, 0][..], usize::MAX / 2 + 1), (&[0, 0, 0], 3), (&[0, 1], 4)] {
            assert!(std::panic::catch_unwind(|| recurrent.run(rows, stride)).is_err(), "{isa:?} {stride}");
        }
        for hidden in [0, 1 << 62, usize::MAX] {
            assert!(std::panic::catch_unwind(|| Int8Recurrent::new(isa, hidden, &[])).is_err());
            assert!(std::panic::catch_unwind(|| Int8Projection::new(isa, hidden, 1, &[], &[])).is_err());
        }
        assert!(std::panic::catch_unwind(|| Int8Projection::new(isa, 4, 1 << 60, &[], &[0.0; 16])).is_err());
        assert!(std::panic::catch_unwind(|| recurrent.run(&vec![0; MAX_INT8_STEPS + 1], 4)).is_err());
    }
}

/// A layer of four units with a table of one row.
struct Recurrent8 {
    recurrent: Int8Recurrent,
    table: AlignedWords,
}

impl Recurrent8 {
    fn of(isa: Isa) -> Self {
        let width = Int8Projection::new(isa, 4, 1, &[0.1; 16], &[0.0; 16]).row_width();
        Self { recurrent: Int8Recurrent::new(isa, 4, &[0.1; 64]), table: AlignedWords::zeros(width) }
    }

    fn run(&self, rows: &[u32], stride: usize) {
        let mut data = vec![0.0; 12];
        let state = self.recurrent.zero_state();
        let output = Some(Output { data: &mut data, stride });
        let mut sequences = [Int8Sequence { rows, state, pool: None, output }];
        self.recurrent.run(GateWords { kept: &self.table, fresh: &[] }, &mut sequences, false);
    }
}
