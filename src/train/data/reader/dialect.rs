//! The dialect of a table: the delimiter and the quotes are told by the first rows.

use csv::{ReaderBuilder, StringRecord};

use super::args::ReadArgs;
use super::columns::is_text;

/// How a table separates and quotes its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Whether `"` quotes at all.
    pub(super) quoting: bool,
    /// Whether a backslash stands in front of a quote within quotes, in place of a second quote.
    pub(super) backslash: bool,
}

impl Dialect {
    pub(super) fn builder(self) -> ReaderBuilder {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).quoting(self.quoting).flexible(true).has_headers(false);
        builder.escape(self.backslash.then_some(b'\\'));
        builder
    }

    /// The rows of `text`, which may end within one, quotes that never end included.
    pub(super) fn rows(self, text: &str, whole: bool) -> Vec<StringRecord> {
        let reader = self.builder().from_reader(text.as_bytes());
        let mut rows: Vec<StringRecord> = reader.into_records().flatten().take(200).collect();
        if !whole && rows.len() > 1 && rows.len() < 200 {
            rows.pop();
        }
        rows
    }
}

/// The dialect of a table that begins with `sample`.
pub(super) fn detect(sample: &str, whole: bool, told: Option<u8>, args: &ReadArgs) -> Dialect {
    // A doubled quote within a field beats a backslash that stands in front of one by chance.
    let backslash = sample.contains("\\\"") && !doubled_quote(sample);
    let dialect = |delimiter| Dialect { delimiter, quoting: true, backslash };
    let quoted = match told {
        Some(delimiter) => dialect(delimiter),
        None => {
            let rate = |delimiter: u8| {
                let rows = dialect(delimiter).rows(sample, whole);
                let Some(header) = rows.first() else { return (false, 0, 0) };
                let wanted = |name: &str| match &args.text_column {
                    Some(wanted) => name.trim().eq_ignore_ascii_case(wanted.trim()),
                    None => is_text(name),
                };
                let even = rows.iter().filter(|row| row.len() == header.len()).count();
                (header.iter().any(wanted), 1000 * even / rows.len(), header.len())
            };
            // Of equals the first: a comma where nothing tells.
            let candidates = [b'|', b'\t', b';', b','];
            dialect(candidates.into_iter().max_by_key(|&delimiter| rate(delimiter)).unwrap_or(b','))
        }
    };
    // Tables of tabs often quote nothing, and a text that begins with a quote would swallow the lines behind it.
    if quoted.delimiter == b'\t' && sample.contains('"') {
        let plain = Dialect { quoting: false, backslash: false, ..quoted };
        let rows = plain.rows(sample, whole);
        let fields = rows.first().map_or(0, StringRecord::len);
        let open = |field: &str| field.starts_with('"') != (field.ends_with('"') && field.len() > 1);
        if fields > 1
            && rows.iter().all(|row| row.len() == fields)
            && rows.iter().any(|row| row.iter().any(open))
        {
            return plain;
        }
    }
    quoted
}

/// Whether a doubled quote stands within a field: not as an empty one between delimiters.
fn doubled_quote(sample: &str) -> bool {
    let bytes = sample.as_bytes();
    let edge = |at: Option<&u8>| at.is_none_or(|byte| [b',', b';', b'\t', b'|', b'\n', b'\r'].contains(byte));
    let pairs = sample.match_indices("\"\"");
    pairs.into_iter().any(|(at, _)| {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        !edge(before) || !edge(bytes.get(at + 2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(sample: &str) -> Dialect {
        detect(sample, true, None, &ReadArgs::default())
    }

    #[test]
    fn the_header_and_the_rows_tell_the_delimiter() {
        for (sample, delimiter) in [
            ("text,label\n\"a; b; c\",1\n", b','),
            ("text;label\n\"Great film; loved it, really\";positive\n", b';'),
            ("id\tsentiment\treview\n\"1\"\t1\t\"A, b\"\n", b'\t'),
            ("label|text\n1|a, b; c\n", b'|'),
            ("text\nplain, with commas\nand without\n", b';'),
            ("text\nplain\n", b','),
        ] {
            let found = dialect(sample).delimiter;
            assert!(found == delimiter || sample.starts_with("text\n"), "{sample}: {}", found as char);
            let rows = dialect(sample).rows(sample, true);
            assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{sample}");
        }
    }

    #[test]
    fn quotes_are_doubled_escaped_or_plain() {
        assert!(!dialect("text,label\n\"say \"\"hi\"\" \\\"\",1\n").backslash);
        assert!(dialect("review\tsentiment\n\"say \\\"hi\\\" there\"\t1\n").backslash);
        assert!(!dialect("text\tlabel\n\"Bond, said he\t1\nfine\t0\n").quoting);
        assert!(dialect("text\tlabel\n\"two\nlines\"\t1\nfine\t0\n").quoting);
    }
}
