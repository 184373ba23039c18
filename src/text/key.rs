//! Words as numbers: eight bytes are lower-cased, told from separators and compared at once.

/// What a word is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The bytes of a word of at most eight, little end first, filled up with zeros; of a longer one a hash.
    pub value: u64,
    /// Bytes of the word.
    pub length: u32,
}

/// Bytes that a key holds as they are.
const WHOLE: usize = 8;

/// 2^64 over the golden ratio: its products spread over the high bits (Knuth, vol. 3, 6.4).
pub(crate) const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key {
    /// The key of a word given by its bytes, lower-cased already.
    #[inline]
    pub fn of(word: &[u8]) -> Self {
        let value = match word.len() <= WHOLE {
            true => eight_bytes(word, 0),
            false => word.chunks(WHOLE).fold(0, |hash, part| fold(hash, eight_bytes(part, 0))),
        };
        Self { value, length: word.len() as u32 }
    }

    /// The first 16 bytes of a word, eight by eight, as [`Key::of_parts`] takes them.
    #[inline(always)]
    pub fn parts(word: &[u8]) -> [u64; 2] {
        [eight_bytes(word, 0), eight_bytes(word, WHOLE)]
    }

    /// The key of the word of `length` bytes, at most 24, that stands in the parts, zeros behind it.
    #[inline(always)]
    pub fn of_parts([first, second, third]: [u64; 3], length: usize) -> Self {
        let value = match length {
            0..=8 => first,
            9..=16 => fold(fold(0, first), second),
            _ => fold(fold(fold(0, first), second), third),
        };
        Self { value, length: length as u32 }
    }

    /// Whether the key alone tells the word from every other.
    #[inline]
    pub fn is_whole(self) -> bool {
        self.length as usize <= WHOLE
    }

    /// Where to look first in a table of `2^bits` slots.
    #[inline]
    pub fn slot(self, bits: u32) -> usize {
        (self.value.wrapping_mul(GOLDEN_RATIO) >> (64 - bits)) as usize
    }
}

/// The value of the key of a word of at most eight bytes.
pub(super) const fn whole_value(word: &[u8]) -> u64 {
    let (mut value, mut at) = (0, word.len());
    while at > 0 {
        at -= 1;
        value = value << 8 | word[at] as u64;
    }
    value
}

/// One step of the hash of a long word.
#[inline(always)]
fn fold(hash: u64, part: u64) -> u64 {
    (hash ^ part).wrapping_mul(GOLDEN_RATIO).rotate_left(29)
}

/// A run of ASCII letters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    /// The key of the run, lower-cased; of length 0 where no letter stands.
    pub key: Key,
    /// Whether a capital is among them.
    pub capitals: bool,
}

impl Letters {
    /// The letters from `bytes[at]` on.
    #[inline(always)]
    pub fn at(bytes: &[u8], at: usize) -> Self {
        let (count, value, capitals) = letters_of_eight(eight_bytes(bytes, at));
        if count < WHOLE {
            return Self { key: Key { value, length: count as u32 }, capitals: capitals != 0 };
        }
        Self::long(bytes, at, value, capitals)
    }

    /// The same where the first eight bytes, `first` when lower-cased, are letters.
    fn long(bytes: &[u8], at: usize, first: u64, mut capitals: u64) -> Self {
        let (mut value, mut length) = (fold(0, first), WHOLE);
        loop {
            let (count, part, more) = letters_of_eight(eight_bytes(bytes, at + length));
            if count > 0 {
                (value, length, capitals) = (fold(value, part), length + count, capitals | more);
            }
            if count < WHOLE {
                let value = if length == WHOLE { first } else { value };
                return Self { key: Key { value, length: length as u32 }, capitals: capitals != 0 };
            }
        }
    }
}

/// Eight bytes from `at` on, little end first; zeros past the end.
#[inline(always)]
fn eight_bytes(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + WHOLE).and_then(|part| part.try_into().ok()) {
        Some(part) => u64::from_le_bytes(part),
        None => last_bytes(bytes.get(at..).unwrap_or_default()),
    }
}

/// Fewer than eight bytes, little end first; zeros past the end.
#[inline(always)]
fn last_bytes(rest: &[u8]) -> u64 {
    // Two halves that may overlap: what both hold is the same.
    if let (Some(first), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        return u64::from(u32::from_le_bytes(*first))
            | u64::from(u32::from_le_bytes(*last)) << (8 * (rest.len() - 4));
    }
    let (Some(&first), Some(&last)) = (rest.first(), rest.last()) else { return 0 };
    let middle = rest.len() / 2;
    u64::from(first) | u64::from(rest[middle]) << (8 * middle) | u64::from(last) << (8 * (rest.len() - 1))
}

/// How many of eight bytes, from the lowest on, are ASCII letters; these lower-cased; a bit for each capital.
#[inline(always)]
fn letters_of_eight(bytes: u64) -> (usize, u64, u64) {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    const CASE: u64 = 0x20 * EACH;
    let lower = bytes | CASE;
    // Sums of 7-bit numbers, whose eighth bit then says "at least": no byte carries into the next.
    let low = lower & !HIGH;
    let from_a = low + (0x80 - u64::from(b'a')) * EACH;
    let past_z = low + (0x80 - u64::from(b'z') - 1) * EACH;
    let letter = from_a & !past_z & !bytes & HIGH;
    let count = (!letter & HIGH).trailing_zeros() as usize / 8;
    let mask = if count == WHOLE { u64::MAX } else { (1 << (8 * count)) - 1 };
    (count, lower & mask, !bytes & CASE & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_a_letter_or_none() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                let mut bytes = *b"aZqMbyxA";
                bytes[place] = byte;
                let (count, lower, capitals) = letters_of_eight(u64::from_le_bytes(bytes));
                let expected = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
                assert_eq!(count, expected, "{byte} at {place}");
                let mut kept = [0; 8];
                kept[..count].copy_from_slice(&bytes[..count].to_ascii_lowercase());
                assert_eq!(lower, u64::from_le_bytes(kept));
                let upper = bytes[..count].iter().filter(|byte| byte.is_ascii_uppercase()).count();
                assert_eq!(capitals.count_ones() as usize, upper);
            }
        }
    }

    #[test]
    fn a_run_of_letters_has_the_key_of_its_word() {
        for length in 0..40 {
            for rest in ["", " ", "1", "é", ". And so on"] {
                let word: String = "AbCdefGhijklmnopqrstuvwxyz".chars().cycle().take(length).collect();
                let text = format!("x {word}{rest}");
                let found = Letters::at(text.as_bytes(), 2);
                assert_eq!(found.key, Key::of(word.to_lowercase().as_bytes()), "{text}");
                assert_eq!(found.capitals, length > 0);
            }
        }
    }

    #[test]
    fn words_that_differ_in_zeros_have_keys_that_differ() {
        assert_ne!(Key::of(b"a"), Key::of(b"a\0"));
        assert!(Key::of(b"eightlet").is_whole() && !Key::of(b"nineletrs").is_whole());
    }
}
