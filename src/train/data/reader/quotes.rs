//! Quotes that are opened and not closed: they swallow the rows behind them without a word.

use super::dialect::Dialect;

/// What is said of a row with such a quote.
const OPEN: &str = "a quote is opened and not closed";

/// Whether a quote in `raw`, a row as it stands, is left open; `expected` is the number of its fields, `swallows` says that
/// the row goes over several lines.
///
/// Text between quotes may hold a quote that is not doubled: that alone is no fault. It is one where the first line is a
/// whole row by itself and the quote stands where a field may begin.
pub fn left_open(raw: &[u8], dialect: Dialect, expected: usize, swallows: bool) -> Option<&'static str> {
    let Dialect { delimiter, backslash, .. } = dialect;
    // Empty lines before a row belong to it.
    let breaks = raw.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
    let raw = &raw[breaks..];
    let byte_at = |at: usize| raw.get(at).copied();
    let ends_field = |byte: u8| byte == delimiter || byte == b'\n' || byte == b'\r';
    let first_line = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_row = first_line.iter().filter(|byte| **byte == delimiter).count() + 1 == expected;
    let mut at = 0;
    while at < raw.len() {
        if raw[at] == b'"' {
            at += 1;
            loop {
                match byte_at(at) {
                    None => return Some(OPEN),
                    Some(b'\\') if backslash => at += 2,
                    Some(b'"') if byte_at(at + 1) == Some(b'"') => at += 2,
                    Some(b'"') => break,
                    Some(_) => at += 1,
                }
            }
            let behind =
                raw[at + 1..].iter().copied().find(|byte| !matches!(byte, b' ' | b'\t') || ends_field(*byte));
            if swallows && is_row && behind.is_some_and(|byte| !ends_field(byte)) && ends_field(raw[at - 1]) {
                return Some(OPEN);
            }
        }
        // The next field, or what is left of this one.
        match raw[at..].iter().position(|byte| *byte == delimiter) {
            Some(length) => at += length + 1,
            None => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_open_where_it_swallows_rows_and_not_where_it_stands_in_a_text() {
        let dialect = |delimiter| Dialect { delimiter, quoting: true, backslash: false };
        let open = |raw: &str| {
            let lines = raw.trim_end().lines().count();
            left_open(raw.as_bytes(), dialect(b','), 2, lines > 1).is_some()
        };
        for raw in [
            "\"good film,positive\nbad film,negative\n",
            "1,\"good film\n2,bad film\n3,dull\n",
            "1,\"good film\n2,\"bad film\"\n",
            "\"good film,1\n\"bad film\",0\n",
            "\"good film,positive",
        ] {
            assert!(open(raw), "{raw}");
        }
        for raw in [
            "1,\"two\nlines\"\n",
            "\"two\nlines\" ,1\n",
            "\"He said\n\"hi\" there\",1\n",
            "1,\"say \"\"hi\"\",\nyou\"\n",
            "1,5\" screen\n",
            "\"a\",\"b\",\"c\"\n",
            "\n\n1,a\n",
        ] {
            assert!(!open(raw), "{raw}");
        }
        let semicolons = left_open(b"\"a; b\";\"c\nd\"\n", dialect(b';'), 2, true);
        assert!(semicolons.is_none());
    }
}
