//! Any bytes at the door `choria_answer`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::choria_answer(bytes));
