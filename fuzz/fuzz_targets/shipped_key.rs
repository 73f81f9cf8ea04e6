//! Any bytes at the door `shipped_key`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::shipped_key(bytes));
