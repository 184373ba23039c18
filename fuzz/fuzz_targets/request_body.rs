//! Any body to any route that takes a text: an answer that `openapi.yaml` describes.
#![no_main]

#[path = "../../tests/properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;
use properties::Service;

thread_local! {
    static SERVICE: Service = Service::start();
}

fuzz_target!(|data: &[u8]| {
    SERVICE.with(|service| service.request_body(data));
});
