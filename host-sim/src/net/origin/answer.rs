//! What a request gets: core decides by its headers, and by what there is.

use std::time::{Duration, SystemTime};

use hyper::header::{
    ALLOW, CONTENT_LENGTH, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Version};
use peerdist_core::bytes::{NoRoom, Writer};
use peerdist_core::encoding::{Available, Coding, ServerRequest};
use peerdist_core::http::date;
use peerdist_core::http::select::{Selected, Selection, Validators};
use peerdist_core::http::wire::{ContentRange, parse_header};

use super::Site;
use super::body::{Content, Description};
use super::files::{Opened, Refusal, State};
use crate::net::http1::{Body, Chunks as _};

/// Bytes of the headers that core writes.
const HEAD_BYTES: usize = 512;

/// How long a client that asks for content information alone waits until there is some.
const HASH_PATIENCE: Duration = Duration::from_secs(10);

/// The names of headers that are not written `Like-This`. Clients search replies for some (fact 16).
pub const NAMES: [&str; 3] = ["ETag", "X-P2P-PeerDist", "X-P2P-PeerDistEx"];

impl Site {
    /// Answers a request. Files are opened here, and content information is checked: it may block.
    pub fn answer(&self, request: &Parts) -> Response<Body> {
        let reply = self.reply(request).unwrap_or_else(|refusal| refused(&refusal));
        self.replies.count(&reply);
        reply
    }

    fn reply(&self, request: &Parts) -> Result<Response<Body>, Refusal> {
        if request.method != Method::GET && request.method != Method::HEAD {
            let mut reply = bare(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD alone are answered");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Ok(reply);
        }
        let path = self.root.find(request.uri.path())?;
        let Opened { file, state } = self.root.open_file(&path)?;
        let now = SystemTime::now();
        let etag = state.etag(now);
        let validators = Validators {
            etag: etag.as_bytes(),
            modified: state.modified_seconds(),
            modified_is_strong: state.is_strong(now),
        };
        let mut selection = Selection::new(validators);
        let mut asked = ServerRequest::default();
        for (name, value) in &request.headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes().trim_ascii());
            selection.header(name, value);
            asked.header(name, value);
        }
        let method = request.method.as_str().as_bytes();
        let mut reply = Response::new(Body::default());
        let part = match selection.decide(method, state.len) {
            Selected::Whole => 0..state.len,
            Selected::Part { first, last } => {
                *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = ContentRange::Part { first, last, total: Some(state.len) };
                put(reply.headers_mut(), |writer| range.emit(writer));
                first..last + 1
            }
            Selected::NotModified => {
                *reply.status_mut() = StatusCode::NOT_MODIFIED;
                describe(reply.headers_mut(), &etag, &state);
                put(reply.headers_mut(), |writer| PLAIN.emit_headers(writer, 0));
                return Ok(reply);
            }
            Selected::Failed => {
                return Ok(bare(StatusCode::PRECONDITION_FAILED, "the file is in another state"));
            }
            Selected::Unsatisfied => {
                let mut reply = bare(StatusCode::RANGE_NOT_SATISFIABLE, "the file ends before that");
                let range = ContentRange::Unsatisfied { total: state.len };
                put(reply.headers_mut(), |writer| range.emit(writer));
                return Ok(reply);
            }
        };
        let http_1_1 = request.version == Version::HTTP_11;
        let wants = state.len >= self.min_size && asked.wants_info(method, http_1_1);
        let mut entry = if wants { self.cache.get(&path, &state) } else { None };
        if wants && entry.is_none() {
            self.hasher.ask(&path);
            if asked.is_hash_request() {
                // It has the content already. Once more would be of no use to it (fact 19).
                self.hasher.wait_for(&path, HASH_PATIENCE);
                entry = self.cache.get(&path, &state);
            }
        }
        let coming = wants && entry.is_none();
        let available = Available { v1: entry.is_some(), v2: entry.is_some(), coming };
        let mut coding = asked.decide(method, http_1_1, available);
        let mut body = None;
        if let (Coding::Encoded { info, .. }, Some(entry)) = (coding, entry) {
            let made = entry.info(info);
            body = made
                .and_then(|(source, info)| Description::new(source, info, part.clone(), self.sent.clone()));
            if body.is_none() {
                // The disk has lost it. It is made anew.
                self.cache.forget(&path);
                self.hasher.ask(&path);
                coding = PLAIN;
            }
        }
        let headers = reply.headers_mut();
        describe(headers, &etag, &state);
        put(headers, |writer| coding.emit_headers(writer, part.end - part.start));
        if let Some(kind) = mime_guess::from_path(&path).first_raw() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !http_1_1 && matches!(coding, Coding::Encoded { .. }) {
            // A cache of HTTP/1.0 knows neither Vary nor Cache-Control.
            headers.insert(EXPIRES, HeaderValue::from_static("0"));
        }
        let (len, body) = match body {
            Some(description) => (description.left(), Body::of(description)),
            None => {
                let content = Content::new(file, state, part.clone(), self.sent.clone());
                (part.end - part.start, Body::of(content))
            }
        };
        headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        if request.method == Method::GET {
            *reply.body_mut() = body;
        }
        Ok(reply)
    }
}

const PLAIN: Coding = Coding::Plain { make_hash_request: false };

/// The validators, which let a client know this state again.
fn describe(headers: &mut HeaderMap, etag: &str, state: &State) {
    // MS-PCCRTP 3.2: the coding may be used where the reply has either of them.
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    let mut text = [0; 32];
    let mut writer = Writer::new(&mut text);
    if date::emit(&mut writer, state.modified_seconds()).is_ok()
        && let Ok(date) = HeaderValue::from_bytes(writer.finish())
    {
        headers.insert(LAST_MODIFIED, date);
    }
}

/// Puts header lines that core writes among those of hyper.
fn put(headers: &mut HeaderMap, emit: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) {
    let mut text = [0; HEAD_BYTES];
    let mut writer = Writer::new(&mut text);
    emit(&mut writer).expect("all that core writes of a head is short");
    let lines = writer.finish().split(|&byte| byte == b'\n');
    let lines = lines.filter_map(|line| parse_header(line.strip_suffix(b"\r")?).ok());
    for line in lines {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(line.name), HeaderValue::from_bytes(line.value))
        {
            headers.insert(name, value);
        }
    }
}

fn refused(refusal: &Refusal) -> Response<Body> {
    match refusal {
        Refusal::Malformed => bare(StatusCode::BAD_REQUEST, "no path"),
        Refusal::Missing => bare(StatusCode::NOT_FOUND, "there is nothing"),
        Refusal::Forbidden(reason) => bare(StatusCode::FORBIDDEN, reason),
        // The reason may tell of this machine.
        Refusal::Failed(_) => bare(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read"),
    }
}

fn bare(status: StatusCode, reason: &str) -> Response<Body> {
    let mut reply = Response::new(Body::from(format!("{reason}\n")));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}
