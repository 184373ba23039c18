//! A layer at inference with recurrent weights and hidden states of 8 bits (`loops/int8` says in which units), whose
//! answers are the same bits on every instruction set.

use half::f16;

use super::dispatch;
use super::inference::Output;
use super::isa::Isa;
use super::layout::{Aligned, AlignedWords, MAX_HIDDEN};
use super::loops::int8::{self, CELL_ONE, Cursor, LINES, Layer, PANEL, STATE_ONE, projection};

/// Which arithmetic this is, of those that gave other answers: 1 had cell states in 32 bits.
pub const INT8_ARITHMETIC: u32 = 2;

/// Most steps that a sequence runs over: sums of so many hidden states stay numbers of 32 bits.
pub const MAX_INT8_STEPS: usize = 65_535;

/// Most numbers of an input row: sums of as many rounded products stay numbers of 32 bits.
const MAX_INPUTS: usize = 4096;

/// Rows of input, each in 16 bits of the unit that its largest number asks for: what every direction of a layer reads.
#[derive(Clone, Debug, Default)]
pub struct Int8Input {
    inputs: usize,
    /// Rows of an even number of words.
    words: Vec<i16>,
    /// What 1 is in each row.
    ones: Vec<f32>,
    /// A row in 32 bits, where it is needed.
    floats: Vec<f32>,
}

impl Int8Input {
    /// Forgets the rows, and awaits others of `inputs` numbers; what was allocated is kept.
    pub fn restart(&mut self, inputs: usize) {
        self.inputs = inputs;
        self.words.clear();
        self.ones.clear();
    }

    /// Adds a row; numbers that are none count as 0.
    ///
    /// # Panics
    /// When it is not `inputs` long.
    pub fn push(&mut self, row: &[f32]) {
        let one = int8::input::quantize(row, self.room(row.len()));
        self.ones.push(one);
    }

    /// As [`Int8Input::push`] of the row in 32 bits.
    ///
    /// # Panics
    /// As there.
    pub fn push_halves(&mut self, row: &[f16]) {
        let mut floats = std::mem::take(&mut self.floats);
        let one = dispatch::quantize_halves(Isa::current(), row, &mut floats, self.room(row.len()));
        self.ones.push(one);
        self.floats = floats;
    }

    /// The words of one more row of `length` numbers.
    fn room(&mut self, length: usize) -> &mut [i16] {
        assert_eq!(length, self.inputs, "length of an input row");
        let at = self.words.len();
        self.words.resize(at + self.inputs.next_multiple_of(2), 0);
        &mut self.words[at..]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ones.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ones.is_empty()
    }
}

/// An input weight and bias, packed: turns rows of input into rows of a gate table of 16 bits.
#[derive(Clone, Debug)]
pub struct Int8Projection {
    isa: Isa,
    panels: usize,
    inputs: usize,
    weights: projection::Weights,
}

impl Int8Projection {
    /// Packs `weight_ih` `[4 hidden, inputs]` and `bias` `[4 hidden]`, gates in the order i, f, g, o.
    ///
    /// # Panics
    /// When a slice has another length, there are no hidden units or more than 65,536, or more than 4,096 inputs.
    pub fn new(isa: Isa, hidden: usize, inputs: usize, weight_ih: &[f32], bias: &[f32]) -> Self {
        assert!((1..=MAX_HIDDEN).contains(&hidden), "{hidden} hidden units");
        assert!(inputs <= MAX_INPUTS, "{inputs} inputs");
        assert!(
            weight_ih.len() == 4 * hidden * inputs && bias.len() == 4 * hidden,
            "shape of the input weight"
        );
        let weights = projection::Weights::pack(hidden, inputs, weight_ih, bias, isa.has_tiles());
        Self { isa, panels: int8::panels(hidden), inputs, weights }
    }

    /// Numbers in a row of the table.
    pub fn row_width(&self) -> usize {
        self.panels * 4 * PANEL
    }

    /// Writes one row of the table per row of `input`, `[input.len(), row_width]`.
    ///
    /// # Panics
    /// When rows are not `inputs` long or the table not `input.len() * row_width`.
    pub fn run(&self, input: &Int8Input, table: &mut [i16]) {
        assert_eq!(input.inputs, self.inputs, "length of an input row");
        assert_eq!(Some(table.len()), input.len().checked_mul(self.row_width()), "size of the table");
        let task = projection::Task {
            lines: self.weights.lines.as_ptr(),
            bytes: self.weights.bytes.as_ptr(),
            units: self.weights.units.as_ptr(),
            bias: self.weights.bias.as_ptr(),
            panels: self.panels,
            pairs: self.inputs.div_ceil(2),
            input: input.words.as_ptr(),
            ones: input.ones.as_ptr(),
            rows: input.len(),
            output: table.as_mut_ptr(),
        };
        // SAFETY: input and table have `rows` rows as checked above, weights and bias were packed for these sizes and this
        // instruction set.
        unsafe { dispatch::project_int8(self.isa, task) }
    }
}

/// The state of one sequence: hidden state and cell state in 16 bits.
#[derive(Clone, Debug)]
pub struct Int8State {
    h: AlignedWords,
    c: AlignedWords,
}

impl Int8State {
    /// The hidden state of the first `hidden` units.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn hidden(&self, hidden: usize) -> impl Iterator<Item = f32> + '_ {
        self.h[..hidden].iter().map(|&h| f32::from(h) / STATE_ONE)
    }
}

/// The largest hidden state of each unit, and the sum of all.
#[derive(Clone, Debug)]
pub struct PooledStates {
    max: AlignedWords,
    sum: Aligned<i32>,
    steps: usize,
}

/// A gate table in two parts, as [`Int8Projection::run`] writes them: rows kept for good, and rows of the moment.
#[derive(Clone, Copy, Debug)]
pub struct GateWords<'a> {
    /// The first rows.
    pub kept: &'a [i16],
    /// The rows after them.
    pub fresh: &'a [i16],
}

/// One sequence to run.
#[derive(Debug)]
pub struct Int8Sequence<'a> {
    /// Row of the table for each position.
    pub rows: &'a [u32],
    /// Where to start from; holds where it ended afterwards.
    pub state: Int8State,
    /// What is made of all hidden states together, if anything.
    pub pool: Option<PooledStates>,
    /// Where every hidden state goes, if anywhere.
    pub output: Option<Output<'a>>,
}

/// A recurrent weight in 8 bits, packed: runs sequences over a gate table.
#[derive(Clone, Debug)]
pub struct Int8Recurrent {
    isa: Isa,
    hidden: usize,
    weights: int8::Weights,
}

impl Int8Recurrent {
    /// Rounds and packs `weight_hh` `[4 hidden, hidden]`, gates in the order i, f, g, o.
    ///
    /// # Panics
    /// When the slice has another length, or there are no hidden units or more than 65,536.
    pub fn new(isa: Isa, hidden: usize, weight_hh: &[f32]) -> Self {
        assert!((1..=MAX_HIDDEN).contains(&hidden), "{hidden} hidden units");
        assert!(weight_hh.len() == 4 * hidden * hidden, "shape of the recurrent weight");
        Self { isa, hidden, weights: int8::Weights::pack(hidden, weight_hh, isa.state_offset()) }
    }

    fn width(&self) -> usize {
        int8::panels(self.hidden) * PANEL
    }

    /// A state of zeros.
    pub fn zero_state(&self) -> Int8State {
        Int8State { h: AlignedWords::zeros(self.width()), c: AlignedWords::zeros(self.width()) }
    }

    /// A pool that has seen no state.
    pub fn empty_pool(&self) -> PooledStates {
        let mut max = AlignedWords::zeros(self.width());
        max.fill(i16::MIN);
        PooledStates { max, sum: Aligned::zeros(self.width()), steps: 0 }
    }

    /// Maximum over time of each unit; its mean over time.
    pub fn max_and_mean(&self, pool: &PooledStates) -> (Vec<f32>, Vec<f32>) {
        let max = pool.max[..self.hidden].iter().map(|&max| f32::from(max) / STATE_ONE);
        let mean = (0..self.hidden).map(|unit| {
            let sum = f64::from(pool.sum[self.in_register_order(unit)]);
            (sum / (f64::from(STATE_ONE) * pool.steps as f64)) as f32
        });
        (max.collect(), mean.collect())
    }

    /// The cell state.
    pub fn cell(&self, state: &Int8State) -> Vec<f32> {
        state.c[..self.hidden].iter().map(|&c| f32::from(c) / CELL_ONE).collect()
    }

    /// Where what is held in 32 bits for `unit` stands: as unpacking a register of words leaves it.
    fn in_register_order(&self, unit: usize) -> usize {
        let words = self.isa.words();
        let (first, at) = (unit / words * words, unit % words);
        first + at % 8 / 4 * (words / 2) + at / 8 * 4 + at % 4
    }

    /// Sequences that are worth running together.
    pub fn batch_rows(&self) -> usize {
        dispatch::int8_batch_rows(self.isa)
    }

    /// Runs `sequences` over `table` on the calling thread; with `reverse` the last position of each is read first.
    ///
    /// Which sequences run together changes no bit of any result, and neither does the instruction set.
    ///
    /// # Panics
    /// When a row lies outside the table, an output is too short or a sequence longer than [`MAX_INT8_STEPS`].
    pub fn run(&self, table: GateWords<'_>, sequences: &mut [Int8Sequence<'_>], reverse: bool) {
        let width = self.width();
        let split = table.kept.len() / (4 * width);
        let table_rows = split + table.fresh.len() / (4 * width);
        let mut cursors: Vec<Cursor> = Vec::with_capacity(sequences.len());
        for Int8Sequence { rows, state, pool, output } in sequences {
            let highest = rows.iter().copied().max();
            assert!(highest.is_none_or(|row| (row as usize) < table_rows), "a row outside the table");
            assert!(state.h.len() == width && state.c.len() == width, "a state of another layer");
            let (mut max, mut sum) = (std::ptr::null_mut(), std::ptr::null_mut());
            let mut steps = rows.len();
            if let Some(pool) = pool {
                assert!(pool.max.len() == width && pool.sum.len() == width, "a pool of another layer");
                pool.steps += rows.len();
                steps = pool.steps;
                (max, sum) = (pool.max.as_mut_ptr(), pool.sum.as_mut_ptr());
            }
            assert!(steps <= MAX_INT8_STEPS, "{steps} steps");
            let (output, stride) = match output {
                Some(Output { data, stride }) if !rows.is_empty() => {
                    let needed =
                        (rows.len() - 1).checked_mul(*stride).and_then(|last| last.checked_add(self.hidden));
                    let fits = *stride >= self.hidden && needed.is_some_and(|needed| needed <= data.len());
                    assert!(fits, "an output that is too short");
                    (data.as_mut_ptr(), *stride)
                }
                _ => (std::ptr::null_mut(), 0),
            };
            let (h, c) = (state.h.as_mut_ptr(), state.c.as_mut_ptr());
            cursors.push(Cursor { rows: rows.as_ptr(), steps: rows.len(), h, c, max, sum, output, stride });
        }
        let layer = Layer {
            lines: self.weights.lines.as_ptr(),
            starts: self.weights.starts.as_ptr(),
            signed_starts: self.weights.signed_starts.as_ptr(),
            shifts: self.weights.shifts.as_ptr(),
            table: [table.kept.as_ptr(), table.fresh.as_ptr()],
            split,
            hidden: self.hidden,
            panels: width / PANEL,
            quads: int8::state_bytes(self.hidden) / 4,
            reverse,
        };
        debug_assert_eq!(self.weights.starts.len(), layer.panels * LINES * 16);
        cursors.sort_by_key(|cursor| std::cmp::Reverse(cursor.steps));
        let mut scratch = Aligned::<u8>::zeros(dispatch::int8_scratch(self.isa, 4 * layer.quads));
        // SAFETY: rows, states, pools and outputs were checked above, the weights were packed for these panels, and every
        // sequence has a state, a pool and an output of its own since `sequences` is borrowed mutably.
        unsafe { dispatch::run_int8(self.isa, layer, &cursors, scratch.as_mut_ptr()) }
    }
}
