//! The stand-in as a program.

use std::io::Write;
use std::net::SocketAddr;

use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// A strict stand-in for Google's Gemini API.
#[derive(Parser)]
struct Options {
    /// The address to listen at; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The only API key that is accepted, until `/_stand-in/keys` is told others.
    #[arg(long, env = "GEMINI_STAND_IN_KEY", hide_env_values = true)]
    key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Options { listen, key } = Options::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    writeln!(std::io::stdout(), "listening on http://{address}")?;
    // It keeps nothing, so it ends at once, whatever is under way.
    tokio::select! {
        ended = gemini_stand_in::serve(listener, &key) => ended?,
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(())
}
