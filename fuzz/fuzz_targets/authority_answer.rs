//! Any bytes at the door `authority_answer`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::authority_answer(bytes));
