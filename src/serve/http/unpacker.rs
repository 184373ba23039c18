//! Unpacking a body piece by piece, in constant memory.

use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::packed::{Coding, INFLATE_BYTES, ZSTD_BYTES, is_zlib};
use crate::serve::budget::Charge;
use crate::serve::problem::Problem;

/// Packed bytes of DEFLATE that are unpacked at a time: a thousand times as many at most.
const STEP: usize = 256;
/// Bytes of zstd that are unpacked at a time.
const PIECE: usize = 64 * 1024;
/// The largest window of zstd in a stream, as a power of two: what its encoders take where they know no size.
const ZSTD_WINDOW_LOG: u32 = 21;

/// Unpacks one body.
pub struct Unpacker {
    coding: Coding,
    decoder: Option<Kind>,
    /// What its decoder holds.
    _held: Charge,
}

enum Kind {
    Gzip(MultiGzDecoder<Vec<u8>>),
    Zlib(ZlibDecoder<Vec<u8>>),
    Deflate(DeflateDecoder<Vec<u8>>),
    /// With whether it stands inside a frame.
    Zstd(Decoder<'static>, bool),
}

impl Unpacker {
    /// An unpacker of `coding`; what it holds is charged beside `charge`.
    ///
    /// # Errors
    /// 503 where too much is held.
    pub fn new(coding: Coding, charge: &Charge) -> Result<Self, Problem> {
        let bytes = match coding {
            Coding::Zstd => (1 << ZSTD_WINDOW_LOG) + ZSTD_BYTES,
            Coding::Gzip | Coding::Deflate => INFLATE_BYTES,
        };
        Ok(Self { coding, decoder: None, _held: charge.another(bytes)? })
    }

    /// Unpacks some of `piece`, which is not empty, into `out`, and returns what is left of it.
    ///
    /// # Errors
    /// 400 where it is not packed so.
    pub fn take<'a>(&mut self, piece: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], Problem> {
        let broken = |_| self.coding.broken();
        if self.decoder.is_none() {
            self.decoder = Some(Kind::new(self.coding, piece).map_err(broken)?);
        }
        let (step, rest) = piece.split_at(piece.len().min(STEP));
        match self.decoder.as_mut().expect("it was made above") {
            Kind::Gzip(decoder) => {
                decoder.write_all(step).map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Kind::Zlib(decoder) => {
                decoder.write_all(step).map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Kind::Deflate(decoder) => {
                decoder.write_all(step).map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Kind::Zstd(decoder, inside) => {
                let begin = out.len();
                out.resize(begin + PIECE, 0);
                let mut input = InBuffer::around(piece);
                let mut output = OutBuffer::around(&mut out[begin..]);
                let left = decoder.run(&mut input, &mut output).map_err(broken)?;
                let (read, written) = (input.pos(), output.pos());
                out.truncate(begin + written);
                *inside = left != 0;
                return Ok(&piece[read..]);
            }
        }
        Ok(rest)
    }

    /// The rest of what is unpacked, at the end of the body.
    ///
    /// # Errors
    /// 400 where it breaks off.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Problem> {
        let broken = |_| self.coding.broken();
        match &mut self.decoder {
            None => {}
            Some(Kind::Gzip(decoder)) => {
                decoder.try_finish().map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Some(Kind::Zlib(decoder)) => {
                decoder.try_finish().map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Some(Kind::Deflate(decoder)) => {
                decoder.try_finish().map_err(broken)?;
                out.append(decoder.get_mut());
            }
            Some(Kind::Zstd(_, true)) => return Err(self.coding.broken()),
            Some(Kind::Zstd(_, false)) => {}
        }
        Ok(())
    }
}

impl Kind {
    fn new(coding: Coding, begin: &[u8]) -> std::io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(MultiGzDecoder::new(Vec::new())),
            Coding::Deflate if is_zlib(begin) => Self::Zlib(ZlibDecoder::new(Vec::new())),
            Coding::Deflate => Self::Deflate(DeflateDecoder::new(Vec::new())),
            Coding::Zstd => {
                let mut decoder = Decoder::new()?;
                decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                Self::Zstd(decoder, false)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::serve::budget::{Budget, Client};

    #[test]
    fn pieces_of_any_size_come_out_alike() {
        let text: Vec<u8> = (0..50_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let level = flate2::Compression::default();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), level);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
        gzip.write_all(&text).unwrap();
        zlib.write_all(&text).unwrap();
        let packed = [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Zstd, zstd::stream::encode_all(&text[..], 3).unwrap()),
        ];
        let charge = Budget::new(8 << 20, Arc::default()).charge(&Arc::<Client>::default(), 0).unwrap();
        let unpack = |coding, packed: &[u8], step| -> Result<Vec<u8>, Problem> {
            let (mut unpacker, mut all) = (Unpacker::new(coding, &charge)?, Vec::new());
            for mut piece in packed.chunks(step) {
                while !piece.is_empty() {
                    let before = all.len();
                    piece = unpacker.take(piece, &mut all)?;
                    assert!(all.len() - before <= 1 << 20);
                }
            }
            unpacker.finish(&mut all)?;
            Ok(all)
        };
        for (coding, packed) in packed {
            for step in [7, 1000, packed.len()] {
                assert!(unpack(coding, &packed, step).unwrap() == text, "{coding:?} {step}");
            }
            assert!(unpack(coding, &packed[..packed.len() - 3], 1000).is_err(), "{coding:?}");
            assert!(unpack(coding, b"{\"text\": \"a film\"}", 1000).is_err(), "{coding:?}");
        }
    }
}
