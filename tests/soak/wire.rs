//! Requests by hand, for clients that do what no HTTP library does: stop in the middle, listen or not, be slow.

use std::io;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// Nothing takes so long.
const LIMIT: Duration = Duration::from_mins(3);
/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// How a client sends.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// All of it, and waits for the answer.
    Whole,
    /// So many bytes of the body after each pause.
    Slowly { bytes: usize, pause: Duration },
    /// So many bytes of the body, and then nothing for as long as the service waits.
    Stalling { bytes: usize },
    /// So many bytes of the body, and closes its side. It still hears what the service says, so that it can be counted.
    Stopping { bytes: usize },
    /// The same, and the connection is gone at once: nobody hears anything.
    Gone { bytes: usize },
    /// All of it, and closes its side after this.
    Leaving { after: Duration },
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

/// Sends a head and a body to an address. No reply is no error: the connection ended without one.
pub async fn send(url: &str, head: &str, body: &[u8], manner: Manner) -> io::Result<Option<Reply>> {
    let exchange = exchange(url, head, body, manner);
    timeout(LIMIT, exchange).await?
}

async fn exchange(url: &str, head: &str, body: &[u8], manner: Manner) -> io::Result<Option<Reply>> {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    if let Manner::Gone { bytes } = manner {
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body[..bytes]).await?;
        sleep(Duration::from_millis(20)).await;
        // The connection is reset and not only closed.
        stream.set_zero_linger()?;
        return Ok(None);
    }
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(head.as_bytes()).await?;
        match manner {
            Manner::Slowly { bytes, pause } => {
                for piece in body.chunks(bytes) {
                    sleep(pause).await;
                    writer.write_all(piece).await?;
                }
            }
            Manner::Stalling { bytes } | Manner::Stopping { bytes } => {
                write_pieces(&mut writer, &body[..bytes]).await?;
            }
            _ => write_pieces(&mut writer, body).await?,
        }
        match manner {
            Manner::Stopping { .. } => writer.shutdown().await,
            Manner::Leaving { after } => {
                sleep(after).await;
                writer.shutdown().await
            }
            _ => Ok(()),
        }
    };
    let read = async {
        let mut bytes = Vec::new();
        let mut piece = vec![0; 16 * 1024];
        // What has come counts, also if the connection is reset after it.
        while let Ok(count @ 1..) = reader.read(&mut piece).await {
            bytes.extend_from_slice(&piece[..count]);
        }
        bytes
    };
    // Who is answered early cannot send the rest, and need not.
    let (_, answer) = tokio::join!(write, read);
    Ok(parse(&answer))
}

async fn write_pieces(writer: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> io::Result<()> {
    for piece in bytes.chunks(PIECE_BYTES) {
        writer.write_all(piece).await?;
    }
    Ok(())
}

/// An answer that is whole.
fn parse(answer: &[u8]) -> Option<Reply> {
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_slice(&answer[end + 4..]).ok()?;
    Some(Reply { status, body })
}
