//! HTTP/1 on TCP, by hyper: connections, their limits, and bodies that are read as they are sent.

mod body;
mod clients;
mod patience;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use self::body::{Body, Chunks};
use self::clients::Clients;
pub use self::clients::Limits;
use self::patience::Patient;

/// Bytes of a request's head: what browsers and proxies send, with cookies, takes a few KiB.
const MAX_HEAD_BYTES: usize = 32 * 1_024;

/// Bytes that wait to be sent on a connection before more are read, which come on top.
const SEND_BYTES: usize = 64 * 1_024;

/// How long the head of a request may take, from when the connection is free for it: who has nothing to ask
/// is in nobody's way for longer.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// How long replies may go on when the server is asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long nobody is accepted where the system has no room for one more connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers the requests on `listener`, within `limits`, until `end`. More connections wait with the system until
/// one is closed; those of a client that has its share are closed at once. Replies on their way then have ten
/// seconds.
///
/// Header names of replies are written as `names` has them; hyper would have all of them in lower case.
pub async fn serve<A, F>(
    listener: TcpListener,
    limits: &Limits,
    names: &'static Names,
    answer: A,
    end: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(limits.connections));
    let clients = Clients::default();
    let mut end = pin!(end);
    loop {
        let accept = async { (room.clone().acquire_owned().await, listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            next = accept => next,
            () = &mut end => break,
        };
        let Ok((stream, from)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(share) = clients.take(from.ip(), limits) else { continue };
        let connection = builder().serve_connection(io_of(stream), named(names, answer.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that fails is its client's loss, who knows.
            _ = connection.await;
            drop((permit, share));
        });
    }
    drop(listener);
    // Who has not taken its reply by then goes without.
    _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_header_size(MAX_HEAD_BYTES);
    builder.max_buf_size(SEND_BYTES);
    // For the trick of `Names`.
    builder.title_case_headers(true);
    builder
}

fn io_of(stream: TcpStream) -> TokioIo<Patient<TcpStream>> {
    // Heads and short bodies go at once; a socket that cannot be told so is only slower.
    _ = stream.set_nodelay(true);
    TokioIo::new(Patient::new(stream))
}

/// `answer` as hyper wants it, with the names of the headers in their place.
fn named<A, F>(
    names: &'static Names,
    answer: A,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Body>, Infallible>> + Send,
>
where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    service_fn(move |request| {
        let reply = answer(request);
        async move {
            let mut reply = reply.await;
            reply.extensions_mut().extend(names.0.get().cloned().unwrap_or_default());
            Ok(reply)
        }
    })
}

/// How the names of headers are written, where that is not `Like-This`.
///
/// hyper keeps names in lower case. It writes them otherwise only as it has read them, in a message that was
/// forwarded: so it is given a message that has them all to read, once, and every reply is made to look as if
/// it came with that.
pub struct Names(OnceLock<Extensions>);

impl Names {
    /// None are known yet.
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Learns these names.
    pub async fn learn(&self, names: &[&str]) -> io::Result<()> {
        let mut head = String::from("GET / HTTP/1.1\r\n");
        names.iter().for_each(|name| head += &format!("{name}: x\r\n"));
        head += "Connection: close\r\n\r\n";
        let heard = Arc::new(OnceLock::new());
        let service = service_fn(|request: Request<Incoming>| {
            _ = heard.set(request.extensions().clone());
            async { Ok::<_, Infallible>(Response::new(Body::default())) }
        });
        let (mut ours, theirs) = tokio::io::duplex(head.len().max(1_024));
        tokio::io::AsyncWriteExt::write_all(&mut ours, head.as_bytes()).await?;
        let connection =
            Builder::new().preserve_header_case(true).serve_connection(TokioIo::new(theirs), service);
        connection.await.map_err(io::Error::other)?;
        if let Some(names) = heard.get() {
            _ = self.0.set(names.clone());
        }
        Ok(())
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}
