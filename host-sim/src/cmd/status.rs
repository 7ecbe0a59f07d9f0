//! `peerdist status`: how a server does.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use peerdist_core::http::conn::{Conn, Event};
use peerdist_sim::net::admin::{DEFAULT_ADDRESS, render};
use serde_json::Value;

use super::{Ending, Failure, one_line, print};

/// What `--help` says at its end.
const EXIT_CODES: &str = "\
Exit codes:
  0  all is well
  2  nobody answers there, or not as peerdist does: one line on stderr says why";

/// How long somebody may take to answer who sits on this machine, or near by.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of the longest answer.
const MAX_ANSWER_BYTES: u64 = 4 * 1_024 * 1_024;

/// Shows how a content server or a peer does that runs with --admin.
#[derive(clap::Args)]
#[command(after_help = EXIT_CODES)]
pub struct Args {
    /// Where its --admin is
    #[arg(value_name = "URL|ADDR:PORT", default_value = DEFAULT_ADDRESS)]
    server: String,

    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
pub fn run(args: Args) -> Result<Ending, Failure> {
    let failure = |reason: String| Failure(format!("{}: {reason}", args.server));
    let host = args.server.strip_prefix("http://").unwrap_or(&args.server);
    let host = host.split('/').next().unwrap_or_default();
    let status = ask(host).map_err(|error| failure(error.to_string()))?;
    let status: Value = match status {
        (200, body) => {
            serde_json::from_slice(&body).map_err(|_| failure("what answers is not peerdist".into()))?
        }
        (code, _) => return Err(failure(format!("answers {code}"))),
    };
    let text = if args.json { format!("{status:#}\n") } else { shown(&status) };
    print(&text)?;
    Ok(Ending::Good)
}

/// Line by line, so that what the other side says cannot move the cursor.
fn shown(status: &Value) -> String {
    render::text(status).lines().map(|line| one_line(line) + "\n").collect()
}

/// The status code and the body.
fn ask(host: &str) -> io::Result<(u16, Vec<u8>)> {
    let address = host.to_socket_addrs()?.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The address, and not the name: that need not be one that the other side knows for its own.
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let bad =
        |reason: &str| io::Error::new(io::ErrorKind::InvalidData, format!("no answer in HTTP: {reason}"));
    let mut conn = Conn::client();
    conn.expect_reply(false).map_err(|_| bad("nothing was asked"))?;
    let (mut rest, mut code, mut body) = (&answer[..], 0, Vec::new());
    loop {
        let (used, event) = conn.handle(rest);
        match event {
            Ok(Some(Event::Status { code: found, .. })) => code = found,
            Ok(Some(Event::Body(bytes))) => body.extend_from_slice(bytes),
            Ok(Some(Event::End)) => return Ok((code, body)),
            Ok(Some(_)) => {}
            Ok(None) => return Err(bad("it is cut off")),
            Err(error) => return Err(bad(&format!("{error:?}"))),
        }
        rest = &rest[used..];
    }
}
