//! How the bytes that a fuzzer gives become the inputs of the properties which `tests/it/properties.rs` tries as well.

#[path = "../../tests/it/common/model.rs"]
#[allow(dead_code)]
mod model;
#[path = "../../tests/it/common/properties.rs"]
pub mod properties;

use properties::{ENDINGS, FILES, GOOD_FILES, Packing};

/// The two files that begin with a header of JSON and its length.
pub const WITH_HEADER: [&str; 2] = ["model.safetensors", "ngrams.safetensors"];

/// The first byte chooses the route and, in its highest bit, whether the next two say how long the JSON is.
pub fn request_body(data: &[u8]) {
    match data {
        [choice, low, high, body @ ..] if choice & 0x80 != 0 => {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            properties::request_body((choice & 0x7f).into(), Some(length), body);
        }
        [choice, body @ ..] => properties::request_body((*choice).into(), None, body),
        [] => {}
    }
}

/// The bytes are the text; where they are not UTF-8, as far as they can be read.
pub fn tokenizer(data: &[u8]) {
    properties::tokenizer(&String::from_utf8_lossy(data));
}

/// The first byte chooses a file that holds the rest, or a file of tensors that has the rest as its header: lengths in
/// front that no longer fit would hide what lies behind.
pub fn model_directory(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let choice = usize::from(*choice) % (FILES.len() + WITH_HEADER.len());
    match FILES.get(choice) {
        Some(file) => properties::model_directory(file, bytes),
        None => {
            let file = WITH_HEADER[choice - FILES.len()];
            let (_, tensors) = split(&GOOD_FILES[file]);
            let length = (bytes.len() as u64).to_le_bytes();
            properties::model_directory(file, &[&length, bytes, tensors].concat());
        }
    }
}

/// Header and tensors of a good safetensors file.
pub fn split(file: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = file.split_first_chunk().expect("a good file");
    rest.split_at(u64::from_le_bytes(*length) as usize)
}

/// The first byte chooses the file's name and what it is packed with, the second what is told beside it; the rest is what
/// is packed.
pub fn review_file(data: &[u8]) {
    let [choice, told, bytes @ ..] = data else { return };
    let choice = usize::from(*choice);
    let ending = ENDINGS[choice % ENDINGS.len()];
    let packing = Packing::ALL[choice / ENDINGS.len() % Packing::ALL.len()];
    properties::review_file(ending, packing, &properties::read_args(*told), bytes);
}
