//! A relay of bytes in front of a server, which can fall silent: connections stay open, and nothing comes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// A running relay. It ends when this is dropped.
pub struct Relay {
    /// Its port on loopback.
    pub port: u16,
    is_silent: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay in front of an address.
    pub async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_silent = Arc::new(AtomicBool::new(false));
        let silent = Arc::clone(&is_silent);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&server).await {
                    tokio::spawn(relay(client, server, Arc::clone(&silent)));
                }
            }
        });
        Self {
            port,
            is_silent,
            task,
        }
    }

    /// From now on nothing comes back, or everything that was kept back.
    pub fn silence(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::Release);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, server: TcpStream, is_silent: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        while is_silent.load(Ordering::Acquire) {
            sleep(Duration::from_millis(20)).await;
        }
        if to_client.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
