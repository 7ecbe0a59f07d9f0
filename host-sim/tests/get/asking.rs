//! A hosted cache of version 1 that wants to know who a client is (MS-PCHC 2.1) before it has what comes.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use peerdist_hal::std::rustls::{ServerConfig, ServerConnection, StreamOwned};
use peerdist_sim::net::tls;
use peerdist_tests::check::content;

use super::place::{Got, Place, origin};
use super::secured::certify;

/// Looks at a token: what follows `Negotiate` in the reply; and whether the message passes.
pub type Judge = dyn Fn(Option<&str>) -> (String, bool) + Send + Sync;

/// Where a message goes on to; its status and body there.
pub type Onward = dyn Fn(IpAddr, &[u8]) -> (String, Vec<u8>) + Send + Sync;

/// One that runs.
pub struct Asking {
    pub address: SocketAddr,
    /// Of each message that came, whether it had a token.
    came: Arc<Mutex<Vec<bool>>>,
}

pub struct Manners {
    pub judge: Box<Judge>,
    pub onward: Box<Onward>,
    /// Whether it ends a connection by which it has asked, and its reply with that.
    pub closes: bool,
}

impl Asking {
    /// At address 4, whose certificate it has.
    pub fn open(place: &Place, manners: Manners) -> Self {
        let (cert, key) = certify(place);
        let config = tls::of_files(Path::new(&cert), Path::new(&key)).expect("ours");
        let listener = TcpListener::bind((place.address(4), 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let came = Arc::new(Mutex::new(Vec::new()));
        let (manners, seen) = (Arc::new(manners), came.clone());
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (manners, seen) = (manners.clone(), seen.clone());
                let config: Arc<ServerConfig> = config.clone();
                thread::spawn(move || {
                    let socket = socket.expect("a connection");
                    let from = socket.peer_addr().expect("connected").ip();
                    let session = ServerConnection::new(config).expect("a configuration");
                    let mut stream = StreamOwned::new(session, socket);
                    while let Some((token, message)) = request(&mut stream) {
                        seen.lock().expect("no panic").push(token.is_some());
                        let (challenge, passes) = (manners.judge)(token.as_deref());
                        let (status, body) = match passes {
                            true => (manners.onward)(from, &message),
                            false => ("401".into(), b"who are you?".to_vec()),
                        };
                        let mut head = format!("HTTP/1.1 {status} x\r\n");
                        if status == "401" {
                            head += &format!("WWW-Authenticate: Negotiate {challenge}\r\n");
                        }
                        let closes = manners.closes && !passes;
                        head += &match closes {
                            true => "Connection: close\r\n\r\n".into(),
                            false => format!("Content-Length: {}\r\n\r\n", body.len()),
                        };
                        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() || closes {
                            stream.conn.send_close_notify();
                            _ = stream.flush();
                            return;
                        }
                    }
                });
            }
        });
        Self { address, came }
    }

    /// Of each message that came since the last time, whether it had a token.
    pub fn came(&self) -> Vec<bool> {
        std::mem::take(&mut self.came.lock().expect("no panic"))
    }

    /// A get of a content that is offered here, of which blocks are served on that port.
    pub fn get(&self, place: &Place, url: &str, name: &str, port: u16, env: &[(&str, &str)]) -> Got {
        let mut command = place.command(&format!("{name}-cache"), url, name);
        command.args(["--hosted", &format!("https://{}", self.address)]);
        command.args(["--hosted-port", &port.to_string()]).envs(env.iter().copied());
        command.env("SSL_CERT_FILE", place.path("cert.pem")).env_remove("SSL_CERT_DIR");
        Got::of(&command.output().expect("it starts"))
    }

    /// What a get says that is offered here in vain; what it fetched is right.
    pub fn refuses(&self, place: &Place, env: &[(&str, &str)]) -> String {
        let site = place.site(origin(70_000, false));
        let got = self.get(place, &site.url(), "refused", 9, env);
        assert_eq!(got.code, 0, "{}", got.errors);
        assert!(place.read("refused") == content(70_000));
        std::fs::remove_dir_all(place.path("refused-cache")).expect("it was made");
        let start = format!("peerdist: hosted cache {}: ", self.address);
        let line = got.errors.strip_prefix(&start).and_then(|rest| rest.split_once('\n'));
        let (line, "") = line.unwrap_or_else(|| panic!("{}", got.errors)) else { panic!("{}", got.errors) };
        line.to_string()
    }
}

/// The token and the body of the next request; `None` at the end.
fn request(stream: &mut impl Read) -> Option<(Option<String>, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("text");
    let field = |name: &str| {
        head.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_string()))
    };
    let mut body = vec![0; field("Content-Length").expect("it has one").parse().expect("a number")];
    stream.read_exact(&mut body).ok()?;
    let token = field("Authorization");
    let token = token.map(|it| it.strip_prefix("Negotiate ").expect("nothing else is known").to_string());
    Some((token, body))
}

/// Where nobody is to be told, that is said, and the hosted cache is asked once.
#[cfg(not(feature = "negotiate"))]
#[test]
fn without_the_feature() {
    let place = Place::new(80);
    let judge = Box::new(|_: Option<&str>| (String::new(), false));
    let onward = Box::new(|_: IpAddr, _: &[u8]| panic!("nothing passes"));
    let asking = Asking::open(&place, Manners { judge, onward, closes: false });
    let said = asking.refuses(&place, &[]);
    let told =
        "it asks for authentication (401, Negotiate), which is not supported; for now it is offered nothing";
    assert_eq!(said, told);
    assert_eq!(asking.came(), [false]);
}
