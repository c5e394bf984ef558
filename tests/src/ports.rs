//! Ports for brokers that must name each other before any of them starts.
//!
//! A port that the system picked is let go before its broker binds it, and again whenever that broker is down; meanwhile the
//! system may pick it for any outgoing connection. These lie below the ports that it picks from, and nobody who asks here gets
//! one that is claimed, in this process or another.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those of `highwater dev`, whose tests run beside these.
const PORTS: Range<u16> = 10_000..20_000;
/// A process tries so many before it comes to those of the one that was started after it.
const STRIDE: u32 = 97;

/// A port of this machine's own address, for as long as this lives. Brokers listen with TCP: the same number of UDP, which
/// stays bound while no broker listens, tells others that it is taken.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: UdpSocket,
}

impl Port {
    /// One that nobody has.
    ///
    /// # Panics
    /// All are taken.
    pub fn claim() -> Port {
        static TRIED: AtomicU32 = AtomicU32::new(0);
        let first = std::process::id().wrapping_mul(STRIDE);
        let span = u32::from(PORTS.end - PORTS.start);
        let next = || {
            let above = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % span;
            PORTS.start + u16::try_from(above).expect("less than the range, which is of such numbers")
        };
        (0..span).find_map(|_| Port::claim_this(next())).expect("one of ten thousand ports is free")
    }

    fn claim_this(number: u16) -> Option<Port> {
        let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        Some(Port { number, _claim: claim })
    }

    /// What a broker listens on.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
