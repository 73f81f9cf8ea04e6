//! Any bytes at the door `token`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::token(bytes));
