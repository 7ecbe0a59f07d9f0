//! Lets the linker find the `memory.x` of the board that is chosen, and links again when it changes.

use std::path::PathBuf;

/// The features that are boards, and their folders.
const BOARDS: [(&str, &str); 2] = [("MPS2_AN385", "mps2_an385"), ("STM32H743", "stm32h743")];

fn main() {
    let chosen =
        |(feature, _): &&(&str, &str)| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    // Without a board, or with two, the program says so itself.
    if let Some((_, folder)) = BOARDS.iter().find(chosen) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/board").join(folder);
        println!("cargo::rustc-link-search={}", folder.display());
        println!("cargo::rerun-if-changed={}", folder.join("memory.x").display());
    }
}
