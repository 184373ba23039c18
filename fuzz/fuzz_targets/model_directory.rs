//! Any damage to a file of a model directory: refused with the file's name, or finite answers.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use properties::{Directory, reference_model};

thread_local! {
    static DIRECTORY: Directory = Directory::copy_of(&reference_model());
}

fuzz_target!(|data: &[u8]| {
    DIRECTORY.with(|directory| directory.damage(data));
});
