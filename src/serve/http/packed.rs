//! Bodies that come packed (`content-encoding`), unpacked within the same limits as others.

use std::io::{BufRead, Read};

use axum::http::{HeaderMap, header};

use crate::serve::budget::Charge;
use crate::serve::problem::{ACCEPTED_ENCODINGS, Problem, ProblemKind, quoted};

/// Bytes that are unpacked at a time.
const PIECE: usize = 16 * 1024;
/// What a decoder of DEFLATE keeps: a window of 32 KiB and its tables.
pub const INFLATE_BYTES: usize = 64 * 1024;
/// The largest window of zstd, as RFC 9659 bounds it.
const ZSTD_WINDOW_BYTES: usize = 8 << 20;
/// What a decoder of zstd keeps besides its window.
pub const ZSTD_BYTES: usize = 256 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// gzip, of one or more members.
    Gzip,
    /// DEFLATE, in the frame of zlib or, as some send it, without.
    Deflate,
    /// zstd, of one or more frames.
    Zstd,
}

impl Coding {
    /// How the body of a request with `headers` is packed; `None` where it is not. An empty header is none.
    ///
    /// # Errors
    /// 415 where it is packed in another way, or more than once.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let unknown = |name: &str| {
            let detail = format!("content-encoding is {}, known are {ACCEPTED_ENCODINGS}", quoted(name));
            Problem::new(ProblemKind::UnsupportedEncoding, detail)
        };
        let mut found = None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| unknown(""))?;
            for name in value.split(',').map(str::trim) {
                let coding = match &*name.to_ascii_lowercase() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "zstd" => Self::Zstd,
                    _ => return Err(unknown(name)),
                };
                if found.replace(coding).is_some() {
                    let detail = "the body is packed more than once; once is taken";
                    return Err(Problem::new(ProblemKind::UnsupportedEncoding, detail));
                }
            }
        }
        Ok(found)
    }

    /// The bytes of `packed`, at most `limit` of them; what is held for them goes to `charge`.
    ///
    /// # Errors
    /// 413 over the limit, 400 where it is not packed so or breaks off, 503 where too much is held.
    pub fn unpack(self, packed: &[u8], limit: usize, charge: &mut Charge) -> Result<Vec<u8>, Problem> {
        // The decoder's own memory is given back with it.
        let (_decoder, mut reader): (_, Box<dyn Read + '_>) = match self {
            Self::Gzip => {
                (charge.another(INFLATE_BYTES)?, Box::new(flate2::bufread::MultiGzDecoder::new(packed)))
            }
            Self::Deflate if is_zlib(packed) => {
                (charge.another(INFLATE_BYTES)?, Box::new(flate2::bufread::ZlibDecoder::new(packed)))
            }
            Self::Deflate => {
                (charge.another(INFLATE_BYTES)?, Box::new(flate2::bufread::DeflateDecoder::new(packed)))
            }
            Self::Zstd => {
                // Said before the decoder finds that its memory does not hold it.
                let announced = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
                if announced.is_some_and(|size| size > limit as u64) {
                    return Err(too_large(limit));
                }
                let window = zstd_window(packed, limit);
                let decoder = zstd_decoder(packed, window).map_err(|_| self.broken())?;
                (charge.another(window + ZSTD_BYTES)?, Box::new(decoder))
            }
        };
        let (mut bytes, mut length) = (Vec::new(), 0);
        loop {
            if length == bytes.len() {
                // One byte past the limit shows that it is passed.
                let most = (2 * length).clamp(PIECE, limit.saturating_add(1).max(PIECE));
                charge.add(most - length)?;
                bytes.reserve_exact(most - length);
                bytes.resize(most, 0);
            }
            match reader.read(&mut bytes[length..]).map_err(|_| self.broken())? {
                0 => break,
                count => length += count,
            }
            if length > limit {
                return Err(too_large(limit));
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// What is said of a body that is not packed as it says, or breaks off.
    pub fn broken(self) -> Problem {
        let name = match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        };
        Problem::new(
            ProblemKind::Malformed,
            format!("content-encoding is {name}, but the body cannot be unpacked so"),
        )
    }
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes when unpacked; send fewer texts at once");
    Problem::new(ProblemKind::TooLarge, detail)
}

/// Whether `packed` begins as zlib's frame does (RFC 1950).
pub fn is_zlib(packed: &[u8]) -> bool {
    matches!(packed, [method, flags, ..] if method & 15 == 8 && (256 * u32::from(*method) + u32::from(*flags)) % 31 == 0)
}

fn zstd_decoder(packed: &[u8], window: usize) -> std::io::Result<impl Read + use<'_>> {
    fn bounded<R: BufRead>(
        reader: R,
        window: usize,
    ) -> std::io::Result<zstd::stream::read::Decoder<'static, R>> {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
        // The next power of two is what the library takes for a bound.
        decoder.window_log_max(window.next_power_of_two().ilog2().max(10))?;
        Ok(decoder)
    }
    bounded(packed, window)
}

/// The window that the first frame of `packed` asks for (RFC 8878, 3.1.1.1); further frames may ask for no more.
fn zstd_window(packed: &[u8], limit: usize) -> usize {
    // Behind four bytes of magic: a frame whose content is one segment has the size of its content for a window.
    let window = match packed.get(4..6) {
        Some(&[descriptor, window]) if descriptor & 0x20 == 0 => {
            let base = 1usize << (10 + (window >> 3)).min(40);
            base + base / 8 * usize::from(window & 7)
        }
        _ => limit,
    };
    window.clamp(1024, ZSTD_WINDOW_BYTES)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::serve::budget::{Budget, Client};

    fn pack(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let best = flate2::Compression::best();
        match coding {
            Coding::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), best);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            Coding::Deflate => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), best);
                writer.write_all(bytes).unwrap();
                writer.finish().unwrap()
            }
            Coding::Zstd => zstd::stream::encode_all(bytes, 19).unwrap(),
        }
    }

    fn charge() -> Charge {
        Budget::new(64 << 20, Arc::default()).charge(&Arc::<Client>::default(), 0).unwrap()
    }

    #[test]
    fn what_is_packed_comes_out_again_and_a_bomb_does_not() {
        let text: Vec<u8> = (0..100_000u32).flat_map(|number| number.to_string().into_bytes()).collect();
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let packed = pack(coding, &text);
            let unpack = |packed: &[u8], limit| coding.unpack(packed, limit, &mut charge());
            assert!(unpack(&packed, text.len()).unwrap() == text, "{coding:?}");
            let kind = |packed: &[u8], limit| unpack(packed, limit).unwrap_err().kind();
            assert_eq!(kind(&packed, text.len() - 1), ProblemKind::TooLarge);
            assert_eq!(kind(&packed[..packed.len() - 9], text.len()), ProblemKind::Malformed);
            assert_eq!(kind(b"{\"text\": \"x\"}", 100), ProblemKind::Malformed);
            let bomb = pack(coding, &vec![b' '; 50 << 20]);
            assert!(bomb.len() < 100_000, "{}", bomb.len());
            let mut charge = charge();
            assert_eq!(coding.unpack(&bomb, 1 << 20, &mut charge).unwrap_err().kind(), ProblemKind::TooLarge);
            // Two of them one after the other are one body.
            if coding != Coding::Deflate {
                let twice = [&packed[..], &packed].concat();
                assert_eq!(unpack(&twice, 2 * text.len()).unwrap().len(), 2 * text.len());
            }
        }
        let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(&text).unwrap();
        let bare = writer.finish().unwrap();
        assert!(Coding::Deflate.unpack(&bare, text.len(), &mut charge()).unwrap() == text);
    }

    #[test]
    fn a_window_is_read_off_its_frame() {
        let packed = pack(Coding::Zstd, &vec![b' '; 1 << 20]);
        assert_eq!(zstd_window(&packed, 1 << 20), 1 << 23, "level 19 knows no size in a stream");
        assert_eq!(zstd_window(&zstd::bulk::compress(b"short", 3).unwrap(), 100_000), 100_000);
        assert_eq!(zstd_window(b"\x28\xb5\x2f\xfd\x00\xff", 1), ZSTD_WINDOW_BYTES);
    }

    #[test]
    fn the_header_names_one_coding_or_none() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            Coding::of(&headers).map_err(|problem| problem.kind())
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[""]), Ok(None));
        assert_eq!(of(&["identity"]), Ok(None));
        assert_eq!(of(&["X-GZip"]), Ok(Some(Coding::Gzip)));
        assert_eq!(of(&["identity, zstd"]), Ok(Some(Coding::Zstd)));
        for unknown in [&["br"][..], &["gzip, gzip"], &["gzip", "deflate"]] {
            assert_eq!(of(unknown), Err(ProblemKind::UnsupportedEncoding));
        }
    }
}
