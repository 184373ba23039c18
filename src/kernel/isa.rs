//! Instruction sets: which ones there are, which ones this processor has, which one is in use.

use std::fmt;
use std::sync::OnceLock;

#[cfg(target_arch = "x86_64")]
use super::amx;
#[cfg(target_arch = "aarch64")]
use super::simd::words::NeonWords;
#[cfg(target_arch = "x86_64")]
use super::simd::words::{Avx2Vnni, Avx2Words, Sse41Words, Vnni};
use super::simd::words::{PortableWords, Words};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

/// Name of the environment variable that forces an instruction set: `amx`, `avx512vnni`, `avx512`, `avxvnni`, `avx2`,
/// `sse41`, `neondotprod`, `neon` or `portable`.
pub const KERNEL_VARIABLE: &str = "IMDB_SENTIMENT_KERNEL";

/// An instruction set that this processor has and that the kernels are compiled for.
///
/// Only detection makes one ([`Isa::available`], [`Isa::current`]): that is what makes it sound to run the kernels
/// that are compiled for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

/// What an [`Isa`] is; to match on. Having one of these says nothing about the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// As `Avx512Vnni`; models of 8 bits multiply many sequences in tiles (AMX-INT8, where the system allows it).
    #[cfg(target_arch = "x86_64")]
    Amx,
    /// As `Avx512`, with recurrent weights in 16 bits at inference (AVX-512 BW and VNNI too).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 16 floats at a time (AVX-512 F and DQ).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// As `Avx2`, with the products of AVX-VNNI for models of 8 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// 8 floats at a time (AVX2 and FMA).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 8 words at a time for models of 8 bits (SSE4.1 and SSSE3); floats as `Portable`.
    #[cfg(target_arch = "x86_64")]
    Sse41,
    /// As `Neon`, with the products of DOTPROD.
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
    /// 8 words at a time for models of 8 bits; floats as `Portable`, which the compiler turns into NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// What every target has; the compiler vectorises it.
    Portable,
}

impl Set {
    /// Every set that this target knows, fastest first.
    const ALL: &[Set] = &[
        #[cfg(target_arch = "x86_64")]
        Set::Amx,
        #[cfg(target_arch = "x86_64")]
        Set::Avx512Vnni,
        #[cfg(target_arch = "x86_64")]
        Set::Avx512,
        #[cfg(target_arch = "x86_64")]
        Set::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Set::Avx2,
        #[cfg(target_arch = "x86_64")]
        Set::Sse41,
        #[cfg(target_arch = "aarch64")]
        Set::NeonDotprod,
        #[cfg(target_arch = "aarch64")]
        Set::Neon,
        Set::Portable,
    ];

    fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Amx => "amx",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => "sse41",
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod => "neondotprod",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            Set::Portable => "portable",
        }
    }

    /// Whether this processor has it.
    fn detected(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Amx => Set::Avx512Vnni.detected() && amx::allowed(),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => {
                Set::Avx512.detected()
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq"),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => Set::Avx2.detected() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3"),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => true,
            Set::Portable => true,
        }
    }
}

impl Isa {
    /// The instruction sets that this processor has, fastest first.
    pub fn available() -> Vec<Self> {
        Set::ALL.iter().copied().filter(|set| set.detected()).map(Isa).collect()
    }

    /// The instruction set that [`KERNEL_VARIABLE`] names, the fastest where it is unset or empty.
    ///
    /// # Errors
    /// [`UnknownIsa`] where the variable names nothing that this processor has.
    pub fn from_environment() -> Result<Self, UnknownIsa> {
        let asked = std::env::var_os(KERNEL_VARIABLE).unwrap_or_default();
        Self::named(&asked.to_string_lossy())
    }

    /// The instruction set of this name, the fastest where `name` is empty.
    fn named(name: &str) -> Result<Self, UnknownIsa> {
        let available = Isa::available();
        if name.is_empty() {
            return Ok(available[0]);
        }
        let found = available.iter().copied().find(|isa| isa.name() == name);
        found.ok_or_else(|| UnknownIsa { asked: name.chars().take(40).collect(), available })
    }

    /// The instruction set in use: as [`Isa::from_environment`], and the fastest where the variable cannot be used,
    /// which the binaries refuse when they start. Decided once per process.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| Isa::from_environment().unwrap_or_else(|_| Isa::available()[0]))
    }

    /// Its name, as [`KERNEL_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Which it is, to match on.
    pub(super) fn set(self) -> Set {
        self.0
    }

    /// Floats in a register.
    pub(super) fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx | Set::Avx512Vnni | Set::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni | Set::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => Portable::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod | Set::Neon => Portable::LANES,
            Set::Portable => Portable::LANES,
        }
    }

    /// What pre-activations are multiplied by, in the order i, f, g, o.
    pub(super) fn scales(self) -> [f32; 4] {
        fn of<S: Simd>() -> [f32; 4] {
            [S::SIGMOID_SCALE, S::SIGMOID_SCALE, S::TANH_SCALE, S::SIGMOID_SCALE]
        }
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx | Set::Avx512Vnni | Set::Avx512 => of::<Avx512>(),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni | Set::Avx2 => of::<Avx2>(),
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => of::<Portable>(),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod | Set::Neon => of::<Portable>(),
            Set::Portable => of::<Portable>(),
        }
    }

    /// Whether products of bytes are done in tiles.
    pub(super) fn has_tiles(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self.0, Set::Amx);
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether recurrent weights are held in 16 bits at inference.
    pub(super) fn quantizes_recurrent(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return matches!(self.0, Set::Amx | Set::Avx512Vnni);
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// What the products of models of 8 bits add to every byte of a hidden state.
    pub(super) fn state_offset(self) -> i32 {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx | Set::Avx512Vnni => i32::from(Vnni::FLIP),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => i32::from(Avx2Vnni::FLIP),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Avx2 => i32::from(Avx2Words::FLIP),
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => i32::from(Sse41Words::FLIP),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod | Set::Neon => i32::from(NeonWords::FLIP),
            Set::Portable => i32::from(PortableWords::FLIP),
        }
    }

    /// Words in a register of models of 8 bits.
    pub(super) fn words(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx | Set::Avx512Vnni => Vnni::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni | Set::Avx512 | Set::Avx2 => Avx2Words::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => Sse41Words::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod | Set::Neon => NeonWords::LANES,
            Set::Portable => PortableWords::LANES,
        }
    }

    /// Rows that a tile computes at once.
    pub(super) fn tile_rows(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Amx | Set::Avx512Vnni | Set::Avx512 => Avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni | Set::Avx2 => Avx2::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => Portable::TILE_ROWS,
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod | Set::Neon => Portable::TILE_ROWS,
            Set::Portable => Portable::TILE_ROWS,
        }
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is none of an instruction set that this processor has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownIsa {
    /// The name's first 40 characters.
    asked: String,
    available: Vec<Isa>,
}

impl fmt::Display for UnknownIsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Set::ALL.iter().any(|set| set.name() == self.asked);
        let names: Vec<&str> = self.available.iter().map(|isa| isa.name()).collect();
        let fault =
            if known { "this processor does not have it" } else { "there is no such instruction set" };
        write!(f, "{KERNEL_VARIABLE} is {:?}: {fault}; it can be {}", self.asked, names.join(", "))
    }
}

impl std::error::Error for UnknownIsa {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_the_list_or_refused_with_it() {
        let available = Isa::available();
        assert_eq!(Isa::named(""), Ok(available[0]));
        for &isa in &available {
            assert_eq!(Isa::named(isa.name()), Ok(isa));
        }
        for name in ["avx521", "AVX2", " avx2", "avx2,portable", &"x".repeat(10_000), "neon\n"] {
            let text = Isa::named(name).unwrap_err().to_string();
            assert!(text.contains("no such instruction set") && text.ends_with("portable"), "{text}");
            assert!(available.iter().all(|isa| text.contains(isa.name())), "{text}");
            assert!(text.len() < 300 && !text.contains('\n'), "{text}");
        }
    }

    #[test]
    fn a_set_that_the_processor_lacks_is_called_so() {
        let lacking = UnknownIsa { asked: "portable".into(), available: Vec::new() };
        assert!(lacking.to_string().contains("does not have it"), "{lacking}");
    }
}
