//! How the service comes to its S3 credentials, and by which way it reaches S3.

use std::fs;
use std::net::TcpStream;
use std::process::Command;

use tempfile::TempDir;
use transcription_tests::process::{Process, eventually, free_port};
use transcription_tests::seaweedfs::{ACCESS_KEY, SECRET_KEY, SeaweedFs};
use transcription_tests::transcription::{Transcription, silent_wav};

const TOKEN_HEADER: &str = "x-amz-security-token";

/// The tokens that came to the bucket.
fn tokens(stack: &Transcription) -> Vec<String> {
    let requests = stack.proxy.requests().into_iter();
    let tokens = requests.filter_map(|request| {
        let token = request.headers.get(TOKEN_HEADER)?;
        Some(token.to_str().unwrap().to_owned())
    });
    tokens.collect()
}

#[tokio::test]
async fn keys_that_were_lent_for_a_time_are_used_with_their_token() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "a-token-in-a-file\n").unwrap();

    for (name, value, expected) in [
        (
            "AWS_SESSION_TOKEN",
            "a-token-of-the-lab",
            "a-token-of-the-lab",
        ),
        (
            "AWS_SESSION_TOKEN_FILE",
            file.to_str().unwrap(),
            "a-token-in-a-file",
        ),
    ] {
        let stack = Transcription::start_with([(name, value)]).await;

        // The lab's store lends no keys, and may say that it does not know the token.
        stack.transcribe("1", "a.wav", silent_wav(3000)).await;

        let tokens = tokens(&stack);
        assert!(!tokens.is_empty());
        assert!(tokens.iter().all(|token| token == expected), "{tokens:?}");
        assert!(
            !stack.process.log().contains(expected),
            "{}",
            stack.process.log()
        );
    }
    let stack = Transcription::start().await;
    assert_eq!(
        stack
            .transcribe("1", "a.wav", silent_wav(3000))
            .await
            .status,
        200
    );
    assert_eq!(tokens(&stack), [""; 0]);
}

/// A proxy that ends TLS itself: for `s3.lab.test` it is the store, for `sts.lab.test` it lends keys. Prints where it was asked to go.
const PROXY: &str = r"
import select, socket, ssl, sys, threading
port, store, key, secret = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('cert.pem', 'key.pem')
lent = f'''<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'><AssumeRoleWithWebIdentityResult>
<Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>token-of-sts</SessionToken>
<Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>'''.encode()
def serve(client):
    head = b''
    while b'\r\n\r\n' not in head:
        data = client.recv(4096)
        if not data:
            return client.close()
        head += data
    target = head.split()[1].decode()
    print(head.split()[0].decode(), target, flush=True)
    client.sendall(b'HTTP/1.1 200 Connected\r\n\r\n')
    inner = context.wrap_socket(client, server_side=True)
    if target.startswith('sts'):
        inner.recv(65536)
        inner.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % len(lent) + lent)
        return inner.close()
    upstream = socket.create_connection(('127.0.0.1', store))
    while True:
        ready = [inner] if inner.pending() else select.select([inner, upstream], [], [])[0]
        for side in ready:
            data = side.recv(65536)
            if not data:
                return inner.close(), upstream.close()
            (upstream if side is inner else inner).sendall(data)
listener = socket.create_server(('127.0.0.1', port))
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

/// Starts the proxy in front of this store; its address and the bundle to trust.
async fn start_proxy(folder: &TempDir, s3: &SeaweedFs) -> (Process, String, String) {
    let file = |name: &str| folder.path().join(name);
    let names = ["s3.lab.test".to_owned(), "sts.lab.test".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    fs::write(file("cert.pem"), made.cert.pem()).unwrap();
    fs::write(file("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let store = s3.endpoint.rsplit(':').next().unwrap();
    let mut python = Command::new("python3");
    python
        .args([
            "-c",
            PROXY,
            &port.to_string(),
            store,
            ACCESS_KEY,
            SECRET_KEY,
        ])
        .current_dir(folder.path());
    let process = Process::start(&mut python, file("log"));
    eventually("the proxy listens", async || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
    .await;
    let bundle = file("cert.pem").display().to_string();
    (process, format!("http://127.0.0.1:{port}"), bundle)
}

#[tokio::test]
async fn s3_is_reached_through_the_proxy_with_a_bundle_of_certificates() {
    let stack = Transcription::start().await;
    let folder = TempDir::new().unwrap();
    let (proxy, address, bundle) = start_proxy(&folder, &stack.s3).await;
    let start = async |bundle: &str| {
        Transcription::start_beside(
            &stack,
            [
                // Nobody but the proxy knows this name.
                ("AWS_ENDPOINT_URL_S3", "https://s3.lab.test"),
                ("HTTPS_PROXY", &address),
                ("NO_PROXY", "127.0.0.1,localhost"),
                ("CA_BUNDLE_FILE", bundle),
            ],
        )
        .await
    };

    let trusting = start(&bundle).await;
    let ready = stack.http.get(format!("{}/readyz", trusting.1));
    assert_eq!(ready.send().await.unwrap().status(), 200, "{}", proxy.log());
    assert!(
        proxy.log().contains("CONNECT s3.lab.test:443"),
        "{}",
        proxy.log()
    );

    let distrusting = start("").await;
    let ready = stack.http.get(format!("{}/readyz", distrusting.1));
    assert_eq!(ready.send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn who_lends_keys_is_asked_through_the_proxy_and_trusted_by_the_bundle_too() {
    let stack = Transcription::start().await;
    let folder = TempDir::new().unwrap();
    let (proxy, address, bundle) = start_proxy(&folder, &stack.s3).await;
    let identity = folder.path().join("identity");
    fs::write(&identity, "a.web.identity").unwrap();

    let (_process, url, _folder) = Transcription::start_beside(
        &stack,
        [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/lab"),
            ("AWS_ROLE_SESSION_NAME", "lab"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", identity.to_str().unwrap()),
            ("AWS_ENDPOINT_URL_STS", "https://sts.lab.test"),
            ("HTTPS_PROXY", &address),
            ("CA_BUNDLE_FILE", &bundle),
        ],
    )
    .await;
    stack
        .http
        .get(format!("{url}/readyz"))
        .send()
        .await
        .unwrap();

    assert!(
        proxy.log().contains("CONNECT sts.lab.test:443"),
        "{}",
        proxy.log()
    );
    let tokens = tokens(&stack);
    assert!(
        tokens.iter().any(|token| token == "token-of-sts"),
        "{tokens:?}"
    );
}
