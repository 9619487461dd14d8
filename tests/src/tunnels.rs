//! Small proxies for SOCKS5 and HTTP, with or without a password, and TLS in front of a plain server.

use std::io::{Read, Result, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Certificates;

/// A SOCKS5 proxy on a free port of the loopback. The proxy runs until the process ends.
#[derive(Debug)]
pub struct SocksProxy {
    /// The address at which the proxy listens.
    pub address: SocketAddr,
}

impl SocksProxy {
    /// Starts a proxy that connects to any host. It requires these credentials if they are given.
    pub fn start(credentials: Option<(&'static str, &'static str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve(client, credentials));
            }
        });
        Self { address }
    }
}

fn serve(mut client: TcpStream, credentials: Option<(&str, &str)>) -> Result<()> {
    let methods = read(&mut client, 2)?[1];
    read(&mut client, methods.into())?;
    match credentials {
        None => client.write_all(&[5, 0])?,
        Some((user_name, password)) => {
            client.write_all(&[5, 2])?;
            read(&mut client, 1)?;
            let is_right = text(&mut client)? == user_name && text(&mut client)? == password;
            client.write_all(&[1, u8::from(!is_right)])?;
            if !is_right {
                return Ok(());
            }
        }
    }
    let request = read(&mut client, 4)?;
    let host = match request[3] {
        1 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(read(&mut client, 4)?).unwrap())
            .to_string(),
        _ => text(&mut client)?,
    };
    let port = u16::from_be_bytes(read(&mut client, 2)?.try_into().unwrap());
    let Ok(server) = TcpStream::connect((host, port)) else {
        return client.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]);
    };
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0])?;
    tunnel(&client, &server)
}

/// An HTTP proxy with the method CONNECT, on a free port of the loopback. The proxy runs until the process ends.
#[derive(Debug)]
pub struct HttpProxy {
    /// The address at which the proxy listens.
    pub address: SocketAddr,
}

impl HttpProxy {
    /// Starts a proxy that connects to any host and requires this `Proxy-Authorization`.
    pub fn start(authorization: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || serve_http(client, authorization));
            }
        });
        Self { address }
    }
}

fn serve_http(mut client: TcpStream, authorization: &str) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(read(&mut client, 1)?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    if !head.contains(&format!("\r\nProxy-Authorization: {authorization}\r\n")) {
        return client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let Ok(server) = TcpStream::connect(target) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n");
    };
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    tunnel(&client, &server)
}

/// TLS in front of a plain server that only answers. It runs until the process ends.
#[derive(Debug)]
pub struct TlsFront {
    /// The address at which TLS listens.
    pub address: SocketAddr,
}

impl TlsFront {
    /// Starts TLS with the certificate of this name.
    pub fn start(certificates: &Certificates, name: &str, server: SocketAddr) -> Self {
        let file = |kind: &str| certificates.path(&format!("{name}.{kind}"));
        let chain = vec![CertificateDer::from_pem_file(file("crt")).expect("it is a certificate")];
        let key = PrivateKeyDer::from_pem_file(file("key")).expect("it is a key");
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(chain, key).expect("they fit");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&config);
                thread::spawn(move || take_turns(client, config, server));
            }
        });
        Self { address }
    }
}

/// Forwards one request to the server and its answer to the client, in turns.
fn take_turns(client: TcpStream, config: Arc<ServerConfig>, server: SocketAddr) -> Result<()> {
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut client = StreamOwned::new(connection, client);
    let mut server = TcpStream::connect(server)?;
    let mut buffer = [0; 4096];
    loop {
        let count = client.read(&mut buffer)?;
        server.write_all(&buffer[..count])?;
        let count = server.read(&mut buffer)?;
        if count == 0 {
            client.conn.send_close_notify();
            return client.flush();
        }
        client.write_all(&buffer[..count])?;
    }
}

/// Forwards bytes in both directions until both directions have ended.
fn tunnel(client: &TcpStream, server: &TcpStream) -> Result<()> {
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut &*server, &mut &*client);
    client.shutdown(Shutdown::Write)
}

fn read(stream: &mut TcpStream, count: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(stream: &mut TcpStream) -> Result<String> {
    let length = read(stream, 1)?[0];
    Ok(String::from_utf8_lossy(&read(stream, length.into())?).into_owned())
}
