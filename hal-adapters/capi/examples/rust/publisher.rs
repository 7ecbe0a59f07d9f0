//! A content server in small: describes a file, and writes its content information to another.
//!
//! ```sh
//! cargo run -p peerdist-capi --example publisher -- ADDRESS FILE INFO
//! ```
//!
//! Whoever has the content information can get the file from peers that have it; so a server gives it only to those
//! who may read the file. The publisher itself gives no content to peers: those that have fetched it do. The same in
//! C is `../c/publisher.c`.

mod shared;

use std::error::Error;
use std::fs::{self, File};
use std::io::Read as _;

use peerdist_core::api::operation::Outcome;
use peerdist_core::api::{ApiError, PublicationOptions, SUPPORTED_VERSION, UserId};
use shared::{Peer, arguments};

fn main() -> Result<(), Box<dyn Error>> {
    let [address, path, info_path] = arguments("publisher ADDRESS FILE INFO")?;
    let mut peer = Peer::open(address.parse()?)?;
    let instance = peer.node.api().startup(SUPPORTED_VERSION, UserId::default())?;

    // The identifier is of our choice, and nobody else's business: here it is the name of the file.
    let name = path.as_bytes();
    let stream = peer.node.api().publish_stream(instance, name, 0, PublicationOptions::default(), 0)?;

    // The content, piece by piece.
    let mut file = File::open(&path)?;
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        total += len;
        let operation = peer.node.api().add_to_stream(stream, &buffer[..len])?;
        succeeded(peer.finish(operation)?.outcome)?;
    }
    if total == 0 {
        return Err(format!("{path} is empty: there is nothing to get from peers").into());
    }
    let operation = peer.node.api().complete_stream(stream)?;
    succeeded(peer.finish(operation)?.outcome)?;
    peer.node.api().close_stream(stream)?;

    // Its content information: of all of it, as offset and length are both 0.
    let info = peer.node.api().open_content_information(instance, name, 0, 0, 0)?;
    let mut bytes = Vec::new();
    loop {
        let operation = peer.node.api().retrieve_content_information(info, buffer.len() as u32)?;
        match peer.finish(operation)?.outcome {
            Outcome::Data { offset, .. } => {
                let len = peer.node.api().copy_content_information(info, offset, &mut buffer)?;
                bytes.extend_from_slice(&buffer[..len]);
            }
            Outcome::Failed(ApiError::NoMore) => break,
            other => return Err(format!("content information: {other:?}").into()),
        }
    }
    fs::write(&info_path, &bytes)?;

    // What was published goes with the instance; content information that was given out stays good.
    peer.node.api().shutdown(instance)?;
    println!("published {path}");
    Ok(())
}

fn succeeded(outcome: Outcome) -> Result<(), ApiError> {
    match outcome {
        Outcome::Failed(error) => Err(error),
        _ => Ok(()),
    }
}
