//! Any bytes at the door `audit_line`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::audit_line(bytes));
