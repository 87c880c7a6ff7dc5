//! The floor: the least that an intercepting proxy costs on hyper, rustls and rcgen. It relays plain HTTP, tunnels or
//! intercepts CONNECT, and does nothing else: no policy, no identity, no log, no limits and no timeouts. It is the
//! yardstick of the peer benchmark and not for use. Written as one would write such a relay at first, without tricks
//! and without waste, on the defaults of its crates and the allocator that Wardgate has.

mod mint;
mod relay;
mod scan;
mod upstream;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::mint::Minter;
use crate::relay::{Relay, Tls};
use crate::scan::Phrases;
use crate::upstream::Dialer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// The authority that signs minted certificates, in PEM
    #[arg(long)]
    ca: PathBuf,
    /// The authority's key, in PEM
    #[arg(long)]
    ca_key: PathBuf,
    /// Roots of the origins, in PEM
    #[arg(long)]
    roots: PathBuf,
    /// Relay the bytes of a CONNECT in place of opening its TLS
    #[arg(long)]
    tunnel: bool,
    /// Look for the phrases of this file, one a line, in each HTML page
    #[arg(long)]
    scan: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let relay = Arc::new(Relay {
        tls: if arguments.tunnel { Tls::Tunnel } else { Tls::Intercept },
        minter: Minter::open(&arguments.ca, &arguments.ca_key)?,
        dialer: Arc::new(Dialer::new(&arguments.roots)?),
        phrases: arguments.scan.as_deref().map(Phrases::open).transpose()?,
    });
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    println!("ready");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let relay = Arc::clone(&relay);
        tokio::spawn(async move { relay.serve_plain(TokioIo::new(stream)).await });
    }
}
