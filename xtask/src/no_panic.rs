//! The no-panic proof: see `tests/no-panic/src/main.rs` for how it works.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::bare_metal::{CORTEX_M3, Toolchain};
use crate::run::{first_program, output, shown};

/// The harness, a workspace of its own.
pub const HARNESS: &str = "tests/no-panic";

/// What the harness's panic handler calls, and nobody defines.
const UNDEFINED: &str = "a_panic_path_is_left_in_a_codec_see_tests_no_panic";

/// Links the harness, and its control that must not link.
pub fn check() -> Result<()> {
    let toolchain = Toolchain::find(CORTEX_M3)?;
    let (links, log) = output(&mut toolchain.build(HARNESS))?;
    if !links {
        print!("{log}");
        if !log.contains(UNDEFINED) {
            return Err(format!("the harness does not build: {}", shown(&toolchain.build(HARNESS))));
        }
        println!("    the functions that can panic:");
        match culprits(&toolchain) {
            Ok(lines) => lines.iter().for_each(|line| println!("      {line}")),
            Err(reason) => println!("      unknown: {reason}"),
        }
        return Err("a codec or machine can panic (see above)".into());
    }
    println!("    no codec and no machine can panic");

    let (links, log) = output(toolchain.build(HARNESS).args(["--features", "control"]))?;
    if links {
        return Err("the control links although it can panic: the proof proves nothing".into());
    }
    if !log.contains(UNDEFINED) {
        return Err(format!("the control fails for another reason than its panic:\n{log}"));
    }
    println!("    the control, which can panic, does not link");
    Ok(())
}

/// Links with the undefined function ignored, and tells which code calls a panic function.
fn culprits(toolchain: &Toolchain) -> Result<BTreeSet<String>> {
    let versioned = |name: &str| {
        let names = ["", "-22", "-21", "-20", "-19", "-18", "-17", "-16", "-15", "-14"];
        let names = names.map(|version| format!("{name}{version}"));
        first_program(&names.each_ref().map(String::as_str)).map(str::to_owned)
    };
    let (Some(objdump), Some(symbolizer)) = (versioned("llvm-objdump"), versioned("llvm-symbolizer")) else {
        return Err("install llvm (llvm-objdump, llvm-symbolizer) to see them".into());
    };

    let mut relink = toolchain.cargo("rustc", HARNESS);
    let (links, log) = output(relink.args(["--", "-Clink-arg=--unresolved-symbols=ignore-all"]))?;
    if !links {
        return Err(format!("linking without the undefined function fails:\n{log}"));
    }
    let elf = toolchain.artifact(HARNESS, "no-panic");
    let (_, listing) =
        output(Command::new(objdump).args(["--disassemble", "--demangle", "--no-show-raw-insn"]).arg(&elf))?;
    calls_into_panic(&listing).into_iter().map(|call| locate(&symbolizer, &elf, &call)).collect()
}

/// A branch into the panic machinery, from outside of it.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    address: String,
    from: String,
    to: String,
}

/// Finds in the output of llvm-objdump who branches to a panic function, looking through the
/// helpers of `core` that stand between.
fn calls_into_panic(listing: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut function = "";
    for line in listing.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            function = name.1;
        } else if let Some((address, rest)) = line.trim_start().split_once(':')
            && let Some((_, to)) = rest.split_once('<')
            && let Some(to) = to.split(" @").next().and_then(|to| to.trim_end().strip_suffix('>'))
            // A branch within a function names it with an offset.
            && !to.contains("+0x")
        {
            calls.push(Call { address: format!("0x{address}"), from: function.into(), to: to.into() });
        }
    }

    let is_core = |name: &str| name.starts_with("core::") || name.starts_with("<core::");
    let mut panics = BTreeSet::from(["__rustc::rust_begin_unwind".into(), "rust_begin_unwind".into()]);
    while let Some(helper) = calls
        .iter()
        .find(|call| panics.contains(&call.to) && is_core(&call.from) && !panics.contains(&call.from))
    {
        panics.insert(helper.from.clone());
    }
    calls.retain(|call| panics.contains(&call.to) && !panics.contains(&call.from));
    calls
}

/// The source lines of `call`, from the inlined function that panics to the one that contains it.
fn locate(symbolizer: &str, elf: &Path, call: &Call) -> Result<String> {
    let mut command = Command::new(symbolizer);
    command.args(["--inlines", "--functions=none", "--basenames", &call.address]).arg("--obj").arg(elf);
    let (_, lines) = output(&mut command)?;
    let lines: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
    Ok(format!("{} calls {} ({})", call.from, call.to, lines.join(" in ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_who_panics_through_core() {
        let listing = "\
00020676 <__rustc::rust_begin_unwind>:
   2067a:      \tbl\t0x2067e <app::good> @ imm = #0x0
00022056 <core::panicking::panic_fmt>:
   2205a:      \tbl\t0x20676 <__rustc::rust_begin_unwind> @ imm = #-0x10
0002205e <core::panicking::panic_bounds_check>:
   22062:      \tbl\t0x22056 <core::panicking::panic_fmt> @ imm = #-0x10
00023778 <app::bad>:
   2377a:      \tb\t0x23780 <app::bad+0x8> @ imm = #0x2
   237ae:      \tbl\t0x2205e <core::panicking::panic_bounds_check> @ imm = #-0x1754
0002067e <app::good>:
   2067e:      \tbl\t0x23778 <app::bad> @ imm = #-0x1754
";
        let calls = calls_into_panic(listing);
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].address, "0x237ae");
        assert_eq!(calls[0].from, "app::bad");
        assert_eq!(calls[0].to, "core::panicking::panic_bounds_check");
    }
}
