//! `fuzz-seeds FOLDER` writes what each target of `tests/fuzz` begins with to files in
//! `FOLDER/target/`: `cargo xtask fuzz` runs it.

use std::path::Path;

use peerdist_tests::fuzz::ALL;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).expect("usage: fuzz-seeds FOLDER");
    for target in ALL {
        let folder = Path::new(&folder).join(target.name);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(folder.join(number.to_string()), seed)?;
        }
    }
    Ok(())
}
