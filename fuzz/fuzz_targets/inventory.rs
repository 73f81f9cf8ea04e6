//! Any bytes at the door `inventory`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::inventory(bytes));
