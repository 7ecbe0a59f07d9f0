//! The status page of a server, as a browser shows it: with scripts and without.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::peerdist;
use crate::run::{cargo, first_program, run, shown, target_dir};
use crate::{Result, apt};

/// The browser, by the names that systems have for it.
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// Nothing but the page: no first steps, no updates, and no network beside it.
const OPTIONS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--dump-dom",
];

/// The settings of a user who forbids scripts. An option of the engine would forbid them to the browser as well,
/// which needs its own to print a document.
const NO_SCRIPTS: &str = r#"{"profile":{"default_content_setting_values":{"javascript":2}}}"#;

/// A page that tells whether its scripts ran.
const CONTROL: &str = "<!DOCTYPE html><title>did not</title><script>document.title = 'r' + 'an'</script>";

/// What it has if they did.
const RAN: &str = "<title>ran</title>";

/// How long the browser may take for a page.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

/// A process that ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts a content server, has the browser render its status page, and looks for every number of its
/// status there.
pub fn check() -> Result<()> {
    let browser = match first_program(BROWSERS) {
        Some(browser) => browser,
        None => {
            apt::install(&["chromium"]).map_err(|error| format!("no Chromium to check pages in: {error}"))?;
            first_program(BROWSERS).ok_or("chromium was installed, and is not on the PATH")?
        }
    };
    run(cargo().args(["build", "--release", "--package", "peerdist-sim"]))?;
    let folder = target_dir().join("page");
    let outcome = make(&folder).and_then(|()| render(&folder, browser));
    _ = fs::remove_dir_all(&folder);
    outcome
}

fn make(folder: &Path) -> Result<()> {
    // What a run before left that was killed.
    _ = fs::remove_dir_all(folder);
    let root = folder.join("root");
    let made = fs::create_dir_all(&root).and_then(|()| fs::write(root.join("file"), vec![7; 200_000]));
    made.map_err(|error| format!("{}: {error}", root.display()))
}

fn render(folder: &Path, browser: &str) -> Result<()> {
    let mut command = Command::new(peerdist());
    command.args(["origin", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--hash", "eager"]);
    command.arg("--root").arg(folder.join("root")).arg("--hash-cache").arg(folder.join("cache"));
    let name = shown(&command);
    let child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{name}: {error}"))?;
    let mut server = Running(child);
    let mut lines = server.0.stdout.take().map(|stdout| BufReader::new(stdout).lines()).ok_or("no pipe")?;
    let admin = lines.find_map(|line| Some(line.ok()?.strip_prefix("admin on http://")?.replace('/', "")));
    let admin = admin.ok_or_else(|| format!("{name} tells no address of its endpoint"))?;
    let control = folder.join("control.html");
    fs::write(&control, CONTROL).map_err(|error| format!("{}: {error}", control.display()))?;
    let control = format!("file://{}", control.display());
    for (scripts, settings) in [("with", None), ("without", Some(NO_SCRIPTS))] {
        let profile = folder.join(scripts);
        if let Some(settings) = settings {
            let file = profile.join("Default/Preferences");
            let made = fs::create_dir_all(profile.join("Default")).and_then(|()| fs::write(&file, settings));
            made.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        if browse(browser, &profile, &control)?.contains(RAN) != settings.is_none() {
            return Err(format!("{browser} {scripts} scripts is not what it is started as"));
        }
        let before = rest(&admin)?;
        let dom = browse(browser, &profile, &format!("http://{admin}/"))?;
        let after = numbers(&ask(&admin)?);
        if before.is_empty() || before.len() != after.len() {
            return Err(format!("{} numbers in the status, then {}", before.len(), after.len()));
        }
        // What counts on meanwhile lies between, and some counts go down.
        for ((field, one), (_, other)) in before.iter().zip(&after) {
            let (least, most) = (one.min(other), one.max(other));
            let cell = format!("<th scope=\"row\">{field}</th><td>");
            let shown: Vec<u64> = dom.split(&cell).skip(1).filter_map(leading).collect();
            if !shown.iter().any(|number| (least..=most).contains(&number)) {
                return Err(format!(
                    "{field} is {least} to {most}; the page {scripts} scripts has {shown:?}"
                ));
            }
        }
        println!("    {browser} {scripts} scripts: {} numbers as in /status", before.len());
    }
    Ok(())
}

/// The document as it stands when the browser has loaded it.
fn browse(browser: &str, profile: &Path, url: &str) -> Result<String> {
    let file = profile.with_extension("dom");
    let output = fs::File::create(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut command = Command::new(browser);
    command.args(OPTIONS).arg(format!("--user-data-dir={}", profile.display())).arg(url);
    command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let name = shown(&command);
    let mut child = Running(command.spawn().map_err(|error| format!("{name}: {error}"))?);
    let start = Instant::now();
    loop {
        match child.0.try_wait() {
            Ok(Some(status)) if status.success() => break,
            Ok(Some(status)) => return Err(format!("{name}: {status}")),
            Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            Ok(None) => return Err(format!("{name}: not done after {} s", PATIENCE.as_secs())),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    }
    fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The numbers of a server that has hashed what it serves: until then they move while the browser starts.
fn rest(admin: &str) -> Result<Vec<(String, u64)>> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let status = numbers(&ask(admin)?);
        let count = |name| status.iter().find(|(field, _)| field == name).map(|(_, number)| *number);
        match (count("FilesWaiting"), count("FilesHashed")) {
            (Some(0), Some(1..)) => return Ok(status),
            (None, _) | (_, None) => return Err(format!("http://{admin}/status counts no files")),
            _ => std::thread::sleep(PAUSE),
        }
    }
    Err(format!("http://{admin}/status: not hashed after {} s", PATIENCE.as_secs()))
}

/// What `/status` answers.
fn ask(admin: &str) -> Result<String> {
    let mut answer = String::new();
    let asked = TcpStream::connect(admin).and_then(|mut stream| {
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n")?;
        stream.read_to_string(&mut answer)
    });
    asked.map_err(|error| format!("http://{admin}/status: {error}"))?;
    Ok(answer)
}

/// The fields of indented JSON whose value is a number.
fn numbers(json: &str) -> Vec<(String, u64)> {
    let field = |line: &str| {
        let (name, value) = line.trim().strip_prefix('"')?.split_once("\": ")?;
        Some((name.to_string(), leading(value)?))
    };
    json.lines().filter_map(field).collect()
}

/// The number that the text begins with.
fn leading(text: &str) -> Option<u64> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
