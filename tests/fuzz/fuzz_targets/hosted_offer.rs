#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| peerdist_tests::fuzz::hosted_offer(data));
