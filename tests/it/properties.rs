//! Random inputs for seconds: what `fuzz/` tries for as long as wanted.

use crate::common::properties::{
    ENDINGS, FILES, GOOD_FILES, Packing, ROUTES, model_directory, read_args, request_body, review_file,
    tokenizer,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// What damage likes to look like: JSON's own signs, escapes, numbers at the ends of their ranges.
const PIECES: [&[u8]; 22] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\xff",
    b"\xf0\x9f\x8e\xac",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e999",
    b"1e38",
    b"1e-45",
    b"4294967296",
    b"18446744073709551615",
    b"\n",
];

/// Good files of reviews, by the endings of their names.
const REVIEW_FILES: [(&str, &str); 6] = [
    ("csv", "text,label\nA gripping film.,1\n\"Dull, and \"\"long\"\".\nTwice.\",0\n"),
    ("csv", "review;sentiment\r\nGood;positive\r\nBad \u{1f3ac};negative\r\n"),
    ("tsv", "id\ttext\n7\tNot bad at all\n8\tAwful\n"),
    (
        "jsonl",
        "{\"text\": \"Loved it.\", \"label\": 1}\n{\"text\": \"\\u00e9\", \"n\": [1, {\"a\": null}]}\n\"plain\"\n",
    ),
    ("json", "[{\"text\": \"Loved it.\"}, {\"text\": \"Dull.\", \"label\": \"neg\"}, \"plain\"]"),
    ("txt", "__label__1 A gripping film.\n__label__0 Dull.\nNo label at all\n"),
];

/// One change of a good input.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, &'static [u8]),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
    /// Puts a piece in the place of one of the runs of digits.
    Number(Index, &'static [u8]),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        4 => (at(), 0u32..8).prop_map(|(at, bit)| Edit::Flip(at, 1 << bit)),
        1 => at().prop_map(Edit::Cut),
        3 => (at(), select(&PIECES[..])).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        2 => (at(), 1usize..9).prop_map(|(at, length)| Edit::Remove(at, length)),
        1 => (at(), 1usize..20, 1usize..400).prop_map(|(at, length, times)| Edit::Repeat(at, length, times)),
        4 => (at(), select(&PIECES[12..21])).prop_map(|(at, piece)| Edit::Number(at, piece)),
    ];
    prop::collection::vec(edit, 0..4)
}

fn apply(edits: &[Edit], bytes: &mut Vec<u8>) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let end = |at: usize, length: usize| (at + length).min(bytes.len());
        match edit {
            Edit::Flip(at, mask) => {
                let at = at.index(bytes.len());
                bytes[at] ^= mask;
            }
            Edit::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Edit::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece.iter().copied());
            }
            Edit::Remove(at, length) => {
                let at = at.index(bytes.len());
                bytes.drain(at..end(at, *length));
            }
            Edit::Repeat(at, length, times) => {
                let at = at.index(bytes.len());
                let again = bytes[at..end(at, *length)].repeat(*times);
                bytes.splice(at..at, again);
            }
            Edit::Number(which, piece) => {
                let starts: Vec<usize> = (0..bytes.len())
                    .filter(|&at| bytes[at].is_ascii_digit() && (at == 0 || !bytes[at - 1].is_ascii_digit()))
                    .collect();
                if starts.is_empty() {
                    continue;
                }
                let at = starts[which.index(starts.len())];
                let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(at..at + digits, piece.iter().copied());
            }
        }
    }
}

/// Applies the edits to the header of a safetensors file, whose length goes on telling the truth.
fn apply_to_header(edits: &[Edit], bytes: &mut Vec<u8>) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header = bytes[8..8 + length].to_vec();
    apply(edits, &mut header);
    bytes.splice(8..8 + length, header.iter().copied());
    bytes[..8].copy_from_slice(&(header.len() as u64).to_le_bytes());
}

/// Good bodies around a text, one for each route.
fn bodies(route: usize, text: &str) -> Vec<u8> {
    let text = serde_json::to_string(text).unwrap();
    let body = match ROUTES[route].0 {
        "/predict" => {
            format!(r#"{{"texts": [{text}, "film"], "model": "m", "truncate": "windows", "abstain": 0.75}}"#)
        }
        "/" | "/models/m" => format!(
            r#"{{"inputs": [{text}, "film"], "truncate": true,
                "parameters": {{"top_k": 1, "function_to_apply": "sigmoid"}}}}"#
        ),
        _ => format!(
            r#"{{"id": "1", "inputs": [{{"name": "text", "shape": [2, 1], "datatype": "BYTES",
                "data": [[{text}], ["film"]]}}], "parameters": {{"truncate": "head", "binary_data_output": false}},
                "outputs": [{{"name": "score", "parameters": {{"binary_data": true}}}}]}}"#
        ),
    };
    body.into_bytes()
}

/// No single step may ask for more memory than this process may have.
fn limit_memory() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(16 << 30), maximum }).unwrap();
}

#[test]
fn texts_that_fuzzing_has_found_are_cut_at_their_characters() {
    tokenizer("5gr8\u{fffd}\u{fffd}######################am#####am#d'###<\u{2}\0\0##d'");
    // Of the same kind: a word whose first letter is a sign.
    tokenizer("#film $a $film #a");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_body_gets_a_described_answer(
        route in 0..ROUTES.len(),
        text in "\\PC*|[a-z !?.<>\"\\\\\0\t]*",
        edits in edits(),
        json_length in prop::option::weighted(0.2, 0usize..400),
    ) {
        let mut body = bodies(route, &text);
        apply(&edits, &mut body);
        request_body(route, json_length, &body);
    }

    #[test]
    fn bytes_behind_the_json_are_read_or_refused(
        texts in prop::collection::vec("[a-z ]{0,9}", 1..4),
        edits in edits(),
        stated in prop::option::weighted(0.2, 0usize..100),
    ) {
        let mut tensor = Vec::new();
        for text in &texts {
            tensor.extend((text.len() as u32).to_le_bytes());
            tensor.extend(text.as_bytes());
        }
        apply(&edits, &mut tensor);
        let size = stated.unwrap_or(tensor.len());
        let json = format!(
            r#"{{"inputs": [{{"name": "text", "shape": [{}], "datatype": "BYTES",
                "parameters": {{"binary_data_size": {size}}}}}]}}"#,
            texts.len()
        );
        request_body(1, Some(json.len()), &[json.as_bytes(), &tensor].concat());
    }

    #[test]
    fn any_bytes_get_a_described_answer(route in 0..ROUTES.len(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        request_body(route, None, &body);
    }

    #[test]
    fn any_text_is_cut_at_its_characters(text in "\\PC*|[a-zA-ZΣσİß .!?<>br/'’“é映\0\r\t\u{85}\u{a0}]*") {
        tokenizer(&text);
    }

    #[test]
    fn a_changed_model_directory_is_refused_or_right(
        file in select(&FILES[..]),
        edits in edits(),
        header in any::<bool>(),
    ) {
        limit_memory();
        let mut bytes = GOOD_FILES[file].clone();
        match header && file.ends_with(".safetensors") {
            true => apply_to_header(&edits, &mut bytes),
            false => apply(&edits, &mut bytes),
        }
        model_directory(file, &bytes);
    }

    #[test]
    fn a_changed_file_of_reviews_is_read_row_by_row_or_refused(
        (ending, good) in select(&REVIEW_FILES[..]),
        named in prop::option::weighted(0.2, select(&ENDINGS[..])),
        packing in select(&Packing::ALL[..]),
        told in prop::option::weighted(0.3, any::<u8>()),
        edits in edits(),
    ) {
        let mut bytes = good.as_bytes().to_vec();
        apply(&edits, &mut bytes);
        review_file(named.unwrap_or(ending), packing, &read_args(told.unwrap_or(0)), &bytes);
    }
}
