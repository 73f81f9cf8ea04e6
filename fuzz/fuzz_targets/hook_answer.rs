//! Any bytes at the door `hook_answer`; see `provisioner::untrusted`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| provisioner::untrusted::hook_answer(bytes));
