//! The C interface as C programs see it: header and libraries, on a host and on bare metal.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::bare_metal::{CORTEX_M3, Toolchain};
use crate::run::{cargo, first_program, output, repository, run, shown, target_dir};
use crate::{Result, apt};

/// The package.
pub const PACKAGE: &str = "hal-adapters/capi";

/// What it takes, and the packages of Debian that bring it.
const TOOLS: [(&str, &str); 5] = [
    ("gcc", "gcc"),
    ("g++", "g++"),
    ("valgrind", "valgrind"),
    ("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
    ("qemu-system-arm", "qemu-system-arm"),
];

/// Nothing that a compiler finds odd gets through.
const STRICT: [&str; 4] = ["-pedantic", "-Wall", "-Wextra", "-Werror"];

/// What makes valgrind's findings failures.
const VALGRIND: [&str; 2] = ["--quiet", "--error-exitcode=99"];

/// The same for memory that nobody can free any more. The harness of Rust's tests leaves some of its own.
const LEAKS: [&str; 3] =
    ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];

/// Bytes of the file that the examples give each other.
const FILE_BYTES: usize = 1_500_000;

/// Checks all of it.
pub fn check() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .iter()
        .filter(|(tool, _)| first_program(&[tool]).is_none())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        apt::install(&missing)?;
    }
    let out = target_dir().join("capi");
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    run(cargo().args(["build", "--release", "--package", "peerdist-capi", "--lib", "--examples"]))?;

    header(&out)?;
    let every = compile(&out, "tests/c/every_function.c", "every-function")?;
    run(&mut Command::new(&every))?;
    run(Command::new("valgrind").args(VALGRIND).args(LEAKS).arg(&every))?;
    println!("    every function, by C and under valgrind");
    conformance()?;
    examples(&out)?;
    bare_on_host(&out)?;
    bare(&out)
}

/// The header is C99 and C++, and may be included more than once.
fn header(out: &Path) -> Result<()> {
    for (compiler, standard, name) in [("gcc", "-std=c99", "header.c"), ("g++", "-std=c++11", "header.cpp")] {
        let path = out.join(name);
        fs::write(&path, "#include <peerdist.h>\n#include <peerdist.h>\n")
            .map_err(|error| format!("{}: {error}", path.display()))?;
        run(Command::new(compiler).args(STRICT).args([standard, "-fsyntax-only"]).arg(include()).arg(&path))?;
    }
    Ok(())
}

/// Compiles a program with the shared library.
fn compile(out: &Path, source: &str, name: &str) -> Result<PathBuf> {
    let (program, libraries) = (out.join(name), target_dir().join("release"));
    let mut command = Command::new("gcc");
    command.args(STRICT).args(["-std=c99", "-O1", "-g", "-pthread"]).arg(include());
    command.arg(repository().join(PACKAGE).join(source)).arg("-o").arg(&program);
    command.arg("-L").arg(&libraries).arg("-lpeerdist").arg(format!("-Wl,-rpath,{}", libraries.display()));
    run(&mut command)?;
    Ok(program)
}

fn include() -> String {
    format!("-I{}", repository().join(PACKAGE).join("include").display())
}

/// The tests of the exported functions, under valgrind: without it, they run with all others.
fn conformance() -> Result<()> {
    run(tests_under_valgrind()?.args(["--test", "conformance"]).env("CONFORMANCE_CALLS", "2000"))
}

/// A test run of the package, with valgrind around it.
fn tests_under_valgrind() -> Result<Command> {
    let (_, version) = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc tells no host")?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_"));
    let mut command = cargo();
    command.args(["test", "--package", "peerdist-capi"]);
    command.env(runner, format!("valgrind {}", VALGRIND.join(" ")));
    Ok(command)
}

/// The two examples in C and in Rust give each other a file.
fn examples(out: &Path) -> Result<()> {
    let c = ["publisher", "consumer"].map(|name| compile(out, &format!("examples/c/{name}.c"), name));
    let [c_publisher, c_consumer] = c;
    let (c_publisher, c_consumer) = (c_publisher?, c_consumer?);
    let rust = |name| target_dir().join("release/examples").join(name);
    let (rust_publisher, rust_consumer) = (rust("publisher"), rust("consumer"));
    let file: Vec<u8> = (0..FILE_BYTES).map(|at| (at * 31 + at / 251 + at / 65_521) as u8).collect();
    fs::write(out.join("file"), &file).map_err(|error| format!("the file to publish: {error}"))?;

    exchange(out, &c_publisher, &c_consumer, &rust_consumer)?;
    exchange(out, &rust_publisher, &rust_consumer, &c_consumer)?;
    println!("    the examples in C and in Rust gave each other {FILE_BYTES} bytes, both ways");

    fs::write(out.join("empty"), []).map_err(|error| format!("an empty file: {error}"))?;
    for publisher in [&c_publisher, &rust_publisher] {
        let (success, told) = output(
            Command::new(publisher).args(["127.0.99.1", "empty", "info-of-nothing"]).current_dir(out),
        )?;
        if success || !told.contains("empty is empty: there is nothing to get from peers") {
            return Err(format!("an empty file was published: {told}"));
        }
    }

    // Too slow there for peers to wait, so without any.
    let valgrind = |program: &Path| {
        let mut command = Command::new("valgrind");
        command.args(VALGRIND).args(LEAKS).arg(program).current_dir(out);
        command
    };
    run(valgrind(&c_publisher).args(["127.0.99.4", "file", "info"]))?;
    run(valgrind(&c_consumer).args(["127.0.99.5", "info", "file", "copy"]))?;
    same(out, "copy")
}

/// A file is published; the first client has to get it from its origin, the second gets it from the first.
fn exchange(out: &Path, publisher: &Path, first: &Path, second: &Path) -> Result<()> {
    run(Command::new(publisher).args(["127.0.99.1", "file", "info"]).current_dir(out))?;
    let mut first = Staying::start(Command::new(first).current_dir(out).args([
        "127.0.99.2",
        "info",
        "file",
        "first-copy",
        "stay",
    ]))?;
    expect(&first.told, &format!("0 bytes from peers, {FILE_BYTES} from the origin"))?;
    let mut second = Command::new(second);
    second.current_dir(out).args(["127.0.99.3", "info", "file", "second-copy"]);
    let (success, told) = output(&mut second)?;
    if !success {
        return Err(format!("{} failed: {told}", shown(&second)));
    }
    expect(&told, &format!("{FILE_BYTES} bytes from peers, 0 from the origin"))?;
    same(out, "first-copy")?;
    same(out, "second-copy")?;
    first.end()
}

fn expect(told: &str, expected: &str) -> Result<()> {
    if told.trim() == expected { Ok(()) } else { Err(format!("`{expected}` was expected, and not: {told}")) }
}

fn same(out: &Path, copy: &str) -> Result<()> {
    let read = |name: &str| fs::read(out.join(name)).map_err(|error| format!("{name}: {error}"));
    if read("file")? == read(copy)? { Ok(()) } else { Err(format!("{copy} is not what was published")) }
}

/// A client that has its copy, and gives it to others until its input ends.
struct Staying {
    child: Child,
    told: String,
}

impl Staying {
    fn start(command: &mut Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = child.map_err(|error| format!("{}: {error}", shown(command)))?;
        let mut staying = Self { child, told: String::new() };
        let out = staying.child.stdout.take().ok_or("it has no output")?;
        BufReader::new(out).read_line(&mut staying.told).map_err(|error| error.to_string())?;
        Ok(staying)
    }

    fn end(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the first client: {status}")) }
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// What is for bare metal, on a host, where valgrind can look at the memory that was lent: its unit tests, and the
/// program for a Cortex-M3.
fn bare_on_host(out: &Path) -> Result<()> {
    run(tests_under_valgrind()?.args(["--no-default-features", "--lib"]))?;
    let mut library = cargo();
    library.args(["rustc", "--package", "peerdist-capi", "--no-default-features", "--lib"]);
    run(library.args(["--crate-type", "staticlib"]))?;
    let (sources, program) = (bare_sources(), out.join("bare-on-host"));
    let archive = target_dir().join("debug/libpeerdist.a");
    let compiler = || {
        let mut command = Command::new("gcc");
        command.args(STRICT).args(["-std=c99", "-O1", "-g"]).arg(include());
        command
    };
    let machines = machines(out, "host", "", compiler(), &archive)?;
    let mut command = compiler();
    command.args(["host.c", "wire.c", "main.c"].map(|name| sources.join(name))).args(machines);
    run(command.args(["-lpthread", "-ldl", "-lm"]).arg("-o").arg(&program))?;
    let alone = out.join("alone-on-host");
    let mut command = compiler();
    command.arg(format!("-I{}", sources.display())).args([sources.join("host.c"), example()]).arg(&archive);
    run(command.args(["-lpthread", "-ldl", "-lm"]).arg("-o").arg(&alone))?;
    for program in [&program, &alone] {
        run(Command::new("valgrind").args(VALGRIND).args(LEAKS).arg(program))?;
    }
    Ok(())
}

/// Two programs for a Cortex-M3 in one, each with a static library of its own: one publishes a stream and reads it
/// back, and gives it to the other, in QEMU.
fn bare(out: &Path) -> Result<()> {
    let toolchain = Toolchain::find(CORTEX_M3)?;
    let mut library = toolchain.cargo("rustc", PACKAGE);
    run(library.args(["--no-default-features", "--lib", "--crate-type", "staticlib"]))?;
    let (sources, program) = (bare_sources(), out.join("bare.elf"));
    let archive = toolchain.artifact(PACKAGE, "libpeerdist.a");
    let compiler = || {
        let mut command = Command::new("arm-none-eabi-gcc");
        command.args([
            "-mcpu=cortex-m3",
            "-mthumb",
            "-std=gnu99",
            "-O1",
            "-g",
            "-ffreestanding",
            "-nostdlib",
        ]);
        command.args(["-Wall", "-Wextra", "-Werror"]).arg(include());
        command
    };
    let machines = machines(out, "cortex-m3", "arm-none-eabi-", compiler(), &archive)?;
    let mut command = compiler();
    command.args(["-Wl,-z,noexecstack", "-T"]).arg(sources.join("link.ld"));
    command.args(["start.c", "wire.c", "main.c"].map(|name| sources.join(name))).args(machines);
    // Once more, for the functions of C that a compiler takes for granted.
    run(command.arg(&archive).arg("-lgcc").arg("-o").arg(&program))?;
    let alone = out.join("alone.elf");
    let mut command = compiler();
    command.args(["-Wl,-z,noexecstack", "-T"]).arg(sources.join("link.ld"));
    command.arg(format!("-I{}", sources.display())).args([sources.join("start.c"), example()]);
    run(command.arg(&archive).arg("-lgcc").arg("-o").arg(&alone))?;
    for program in [&alone, &program] {
        let mut qemu = Command::new("timeout");
        qemu.args(["120", "qemu-system-arm", "-machine", "mps2-an385", "-nographic"]);
        qemu.args(["-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native"]);
        run(qemu.arg("-kernel").arg(program))?;
    }
    println!("    a Cortex-M3 has published a stream, read it back, and given it to another");
    Ok(())
}

/// The example for bare metal.
fn example() -> PathBuf {
    repository().join(PACKAGE).join("examples/bare/alone.c")
}

fn bare_sources() -> PathBuf {
    repository().join(PACKAGE).join("tests/bare")
}

/// Two machines: the library twice, of which nothing can be seen but one table of functions each, so that they share
/// no variable.
fn machines(
    out: &Path,
    name: &str,
    tools: &str,
    mut compiler: Command,
    archive: &Path,
) -> Result<[PathBuf; 2]> {
    let [table, whole] = ["table", "whole"].map(|part| out.join(format!("{name}-{part}.o")));
    run(compiler.arg("-c").arg(bare_sources().join("machine.c")).arg("-o").arg(&table))?;
    let mut link = Command::new(format!("{tools}ld"));
    run(link
        .args(["-r", "--force-group-allocation", "-z", "noexecstack"])
        .arg(&table)
        .arg(archive)
        .arg("-o")
        .arg(&whole))?;
    let machines = ["first", "second"].map(|which| (which, out.join(format!("{name}-{which}.o"))));
    for (which, machine) in &machines {
        let mut rename = Command::new(format!("{tools}objcopy"));
        rename.arg(format!("--redefine-sym=machine={which}_machine"));
        rename.arg(format!("--keep-global-symbol={which}_machine"));
        run(rename.args([&whole, machine]))?;
    }
    Ok(machines.map(|(_, machine)| machine))
}
