//! Sixteen sequences in step, with the products of AMX tiles (`tdpbssd`), for processors and kernels that allow them.
//!
//! A tile of states is 16 sequences of 64 bytes, one of weights a line of 16 units over 64 inputs as it stands in memory;
//! their product adds to a tile of 16 sequences by 16 units. The unit works beside the others: while the cells of one panel
//! are computed, it multiplies for the next.
//!
//! In assembly, for the intrinsics are not stable.

use std::arch::asm;

use super::super::super::simd::words::{BesideAmx, Words};
use super::step::Row;
use super::{Cursor, LINES, Layer, PANEL, TILE_BYTES, step};

/// Sequences of a tile.
pub(in super::super::super) const TILE_ROWS: usize = 16;

/// Sequences from which on tiles are faster than registers: a tile takes as long for few rows as for many.
pub(super) const LEAST_ROWS: usize = 4;

/// Numbers of a tile of sums.
pub(super) const TILE: usize = TILE_ROWS * 16;

/// Bytes of scratch: two rows of states for each of 16 sequences, and the sums of two panels.
pub(in super::super::super) fn scratch_bytes(state_bytes: usize) -> usize {
    2 * TILE_ROWS * state_bytes + 2 * LINES * TILE * 4
}

/// What `ldtilecfg` reads: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
pub(super) struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    columns: [u16; 16],
    rows: [u8; 16],
}

pub(super) static TILES: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    columns: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tiles of states that stay in registers for a whole step; with more, each is loaded for each product.
const KEPT: usize = 4;

/// Loads a tile of 16 rows, `stride` bytes apart, by `tileloadd` or, past the first-level cache, by `tileloaddt1`.
macro_rules! load_tile {
    ($instruction:literal, $register:literal, $from:expr, $stride:expr) => {
        asm!(
            concat!($instruction, " ", $register, ", [{from} + {stride}]"),
            from = in(reg) $from,
            stride = in(reg) $stride,
            options(readonly, nostack, preserves_flags)
        )
    };
}

/// The products of the states with the lines of a panel, one after the other: all tiles of a line, then the next line.
///
/// Registers 0 to 3 hold the states, 4 and 5 the sums of even and of odd lines, 6 and 7 weights, in turns. Whatever takes
/// long is begun one product ahead: weights are loaded while those before them are multiplied, and sums are stored when the
/// next line's are done, so that no instruction waits for the one before it.
struct Products {
    /// 16 rows of states, `stride` apart.
    states: *const u8,
    stride: usize,
    /// Tiles of a row of states.
    tiles: usize,
    /// The panel's weights, and what its sums begin with.
    weights: *const i8,
    starts: *const i32,
    /// Where the panel's sums go.
    sums: *mut i32,
    /// The next product's line and tile, and whether it is an odd one.
    line: usize,
    tile: usize,
    odd: bool,
}

impl Products {
    /// Begins with a panel.
    ///
    /// # Safety
    /// The processor and the thread have tiles, configured as [`TILES`], which no other code uses; the pointers are valid
    /// for what they are said to be until the last product is done.
    #[inline(always)]
    unsafe fn begin(layer: &Layer, panel: usize, states: *const u8, sums: *mut i32) -> Self {
        let tiles = layer.quads / 16;
        // SAFETY: the caller's promise.
        unsafe {
            let this = Self {
                states,
                stride: 4 * layer.quads,
                tiles,
                weights: layer.lines.add(panel * tiles * LINES * TILE_BYTES),
                starts: layer.signed_starts.add(panel * LINES * 16),
                sums,
                line: 0,
                tile: 0,
                odd: false,
            };
            this.load_weights(0, 0, false);
            this.load_starts(0);
            this
        }
    }

    /// Loads a tile of states to its register.
    #[inline(always)]
    unsafe fn load_states(&self, tile: usize) {
        // SAFETY: as for `begin`.
        unsafe {
            let states = self.states.add(64 * tile);
            match tile % KEPT {
                0 => load_tile!("tileloadd", "tmm0", states, self.stride),
                1 => load_tile!("tileloadd", "tmm1", states, self.stride),
                2 => load_tile!("tileloadd", "tmm2", states, self.stride),
                _ => load_tile!("tileloadd", "tmm3", states, self.stride),
            }
        }
    }

    /// Loads a line's weights over a tile of states. All of a layer's would drive the sequences' states out of the first-level
    /// cache at every step.
    #[inline(always)]
    unsafe fn load_weights(&self, line: usize, tile: usize, odd: bool) {
        // SAFETY: as for `begin`.
        unsafe {
            let weights = self.weights.add((tile * LINES + line) * TILE_BYTES);
            if odd {
                load_tile!("tileloaddt1", "tmm7", weights, 64usize);
            } else {
                load_tile!("tileloaddt1", "tmm6", weights, 64usize);
            }
        }
    }

    /// Loads what a line's sums begin with: sixteen times the same row.
    #[inline(always)]
    unsafe fn load_starts(&self, line: usize) {
        // SAFETY: as for `begin`.
        unsafe {
            let starts = self.starts.add(line * 16);
            if line.is_multiple_of(2) {
                load_tile!("tileloadd", "tmm4", starts, 0usize);
            } else {
                load_tile!("tileloadd", "tmm5", starts, 0usize);
            }
        }
    }

    /// Stores the sums of a line.
    #[inline(always)]
    unsafe fn store(&self, line: usize) {
        macro_rules! store_tile {
            ($register:literal) => {
                asm!(
                    concat!("tilestored [{sums} + {stride}], ", $register),
                    sums = in(reg) self.sums.add(line * TILE),
                    stride = in(reg) 64usize,
                    options(nostack, preserves_flags)
                )
            };
        }
        // SAFETY: as for `begin`.
        unsafe {
            if line.is_multiple_of(2) {
                store_tile!("tmm4");
            } else {
                store_tile!("tmm5");
            }
        }
    }

    /// Whether all products are done, all but the last line's sums stored.
    #[inline(always)]
    fn are_done(&self) -> bool {
        self.line == LINES
    }

    /// Does the next product.
    ///
    /// # Safety
    /// As [`Products::begin`], and there is a next one.
    #[inline(always)]
    unsafe fn next(&mut self) {
        macro_rules! multiply {
            ($sums:literal, $states:literal) => {
                if self.odd {
                    asm!(
                        concat!("tdpbssd ", $sums, ", ", $states, ", tmm7"),
                        options(nomem, nostack, preserves_flags)
                    )
                } else {
                    asm!(
                        concat!("tdpbssd ", $sums, ", ", $states, ", tmm6"),
                        options(nomem, nostack, preserves_flags)
                    )
                }
            };
        }
        macro_rules! of_line {
            ($sums:literal) => {
                match self.tile % KEPT {
                    0 => multiply!($sums, "tmm0"),
                    1 => multiply!($sums, "tmm1"),
                    2 => multiply!($sums, "tmm2"),
                    _ => multiply!($sums, "tmm3"),
                }
            };
        }
        // SAFETY: the caller's promise.
        unsafe {
            if self.tiles > KEPT {
                self.load_states(self.tile);
            }
            if self.line.is_multiple_of(2) {
                of_line!("tmm4");
            } else {
                of_line!("tmm5");
            }
            let line = self.line;
            self.odd = !self.odd;
            self.tile += 1;
            let ends_line = self.tile == self.tiles;
            if ends_line {
                (self.line, self.tile) = (line + 1, 0);
            }
            if !self.are_done() {
                self.load_weights(self.line, self.tile, self.odd);
            }
            if ends_line {
                if line > 0 {
                    self.store(line - 1);
                }
                if !self.are_done() {
                    self.load_starts(self.line);
                }
            }
        }
    }

    /// Does what is left to do.
    ///
    /// # Safety
    /// As [`Products::begin`].
    #[inline(always)]
    unsafe fn finish(mut self) {
        // SAFETY: the caller's promise.
        unsafe {
            while !self.are_done() {
                self.next();
            }
            self.store(LINES - 1);
        }
    }
}

/// Up to [`TILE_ROWS`] sequences, longest first. Returns how many steps were done: all of those in which at least
/// [`LEAST_ROWS`] sequences take part.
///
/// # Safety
/// As [`step::run`] with the processor's AMX besides, which the system has allowed this process to use; `scratch` has
/// [`scratch_bytes`] zeros.
#[inline(always)]
pub(in super::super::super) unsafe fn run(layer: Layer, cursors: &[Cursor], scratch: *mut u8) -> usize {
    let steps = cursors.get(LEAST_ROWS - 1).map_or(0, |cursor| cursor.steps);
    if steps == 0 {
        return 0;
    }
    // SAFETY: the scratch is two times 16 rows of states, then sums of two panels. Sequences stand longest first.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &TILES, options(readonly, nostack, preserves_flags));
        let stride = 4 * layer.quads;
        let (mut now, mut next) = (scratch, scratch.add(TILE_ROWS * stride));
        let sums = scratch.add(2 * TILE_ROWS * stride).cast::<i32>();
        for (row, cursor) in cursors.iter().enumerate() {
            step::start::<BesideAmx>(&layer, cursor, now.add(row * stride));
        }
        let mut active = cursors.len();
        let mut inputs = [std::ptr::null::<i16>(); TILE_ROWS];
        for (input, cursor) in inputs.iter_mut().zip(cursors) {
            if cursor.steps > 0 {
                *input = layer.input(cursor, 0);
            }
        }
        for step in 0..steps {
            while cursors[active - 1].steps <= step {
                active -= 1;
            }
            one_step(&layer, &cursors[..active], &mut inputs, (step, steps), now, next, sums);
            std::mem::swap(&mut now, &mut next);
        }
        asm!("tilerelease", options(nomem, nostack, preserves_flags));
    }
    steps
}

/// Step `step` of `steps` that are done here; `inputs` are the rows of the table for it, and become those for the next one.
#[inline(always)]
unsafe fn one_step(
    layer: &Layer,
    cursors: &[Cursor],
    inputs: &mut [*const i16; TILE_ROWS],
    (step, steps): (usize, usize),
    now: *const u8,
    next: *mut u8,
    sums: *mut i32,
) {
    // SAFETY: as for `run`; every other panel has the same sums.
    unsafe {
        let sums_of = |panel: usize| sums.add(panel % 2 * LINES * TILE);
        let products = Products::begin(layer, 0, now, sums);
        for tile in 0..products.tiles.min(KEPT) {
            products.load_states(tile);
        }
        // A panel's products are spread over the rows of the panel before it, but for the last ones, after which the sums are
        // stored.
        let spread = cursors.len().saturating_sub(2).max(1);
        let count = LINES * products.tiles;
        products.finish();
        let mut ahead = *inputs;
        for (row, cursor) in cursors.iter().enumerate() {
            if step + 1 < cursor.steps {
                ahead[row] = layer.input(cursor, step + 1);
            }
        }
        let cells = Cells { layer, cursors, inputs, ahead: &ahead, step, steps, next };
        for panel in 0..layer.panels {
            let mut following = (panel + 1 < layer.panels)
                .then(|| Products::begin(layer, panel + 1, now, sums_of(panel + 1)));
            let mut due = 0;
            for row in (0..cursors.len()).step_by(2) {
                if let Some(products) = &mut following {
                    while due <= row * count && !products.are_done() {
                        products.next();
                        due += spread;
                    }
                }
                if row + 1 < cursors.len() {
                    cells.finish::<2>(panel, row, sums_of(panel));
                } else {
                    cells.finish::<1>(panel, row, sums_of(panel));
                }
            }
            if let Some(products) = following {
                products.finish();
            }
        }
        *inputs = ahead;
    }
}

/// The cells of a step.
struct Cells<'a> {
    layer: &'a Layer,
    cursors: &'a [Cursor],
    /// The rows of the table for this step and for the next one.
    inputs: &'a [*const i16; TILE_ROWS],
    ahead: &'a [*const i16; TILE_ROWS],
    step: usize,
    /// How many steps are done in tiles.
    steps: usize,
    /// Where the states go.
    next: *mut u8,
}

impl Cells<'_> {
    /// Takes `R` sequences from `first` on through the cells of a panel.
    ///
    /// # Safety
    /// As [`one_step`]; `sums` are the panel's.
    #[inline(always)]
    unsafe fn finish<const R: usize>(&self, panel: usize, first: usize, sums: *const i32) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut rows = [Row { x: std::ptr::null(), bytes: self.next, last: false }; R];
            let mut row_sums = [[BesideAmx::splat_d(0); LINES]; R];
            for r in 0..R {
                let row = first + r;
                // Rows of a large table come from memory; which ones is known long before they are needed.
                for line in 0..4 {
                    BesideAmx::prefetch(self.ahead[row].add((panel * 4 + line) * PANEL).cast());
                }
                for line in 0..LINES {
                    row_sums[r][line] = BesideAmx::load_d(sums.add(line * TILE + row * 16));
                }
                rows[r] = Row {
                    x: self.inputs[row],
                    bytes: self.next.add(row * 4 * self.layer.quads),
                    last: self.step + 1 == self.cursors[row].steps.min(self.steps),
                };
            }
            let cursors = &self.cursors[first..];
            step::finish::<BesideAmx, R>(self.layer, cursors, self.step, (panel, 0), row_sums, rows);
        }
    }
}
