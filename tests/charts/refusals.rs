//! A wrong value fails with a sentence that says what to do.

use std::fs;

use transcription_tests::charts::{CHARTS, Helm, folder, together};

/// What is set besides what the chart needs, and the words that have to be said.
type Refusal = (&'static str, &'static [&'static str]);

const OF_AUTH: [Refusal; 21] = [
    (
        "jwt.existingSecret=",
        &[
            "jwt.existingSecret: name the Secret with the key that signs tokens.",
            "kubectl create secret generic transcription-jwt --from-literal=JWT_SECRET_KEY=\"$(openssl rand -base64 48)\" --namespace team",
            "--set jwt.existingSecret=transcription-jwt",
        ],
    ),
    (
        "jwt.existingSecret=,jwt.key=signing",
        &["--from-literal=signing="],
    ),
    (
        "replicas=2",
        &[
            "replicas is 2: SQLite has one writer, so there is never more than one pod of the auth service. Set replicas to 1.",
        ],
    ),
    (
        "trustedProxies={10.0.0.1}",
        &[
            "trustedProxies: \"10.0.0.1\" is no network: write networks as CIDRs, for example 10.0.0.0/8.",
        ],
    ),
    (
        "corsAllowedOrigins={https://app.example.com/page}",
        &["corsAllowedOrigins: \"https://app.example.com/page\" is no origin"],
    ),
    (
        "corsAllowedOrigins={*,https://app.example.com}",
        &["corsAllowedOrigins: \"*\" is no origin", "or * alone"],
    ),
    (
        "tracing.otlpEndpoint=collector:4318",
        &["tracing.otlpEndpoint: \"collector:4318\" is no address"],
    ),
    (
        "ingress.enabled=true",
        &["ingress.enabled needs a host: set ingress.host, for example auth.example.com."],
    ),
    (
        "service.nodePort=30080",
        &["service.nodePort needs service.type NodePort or LoadBalancer"],
    ),
    (
        "extraEnv[0].name=DATABASE_URL,extraEnv[0].value=x",
        &["extraEnv: DATABASE_URL is set by the chart: remove it, and see persistence."],
    ),
    (
        "fullnameOverride=1auth",
        &[
            "The objects would be called \"1auth\", and a Service cannot",
            "set fullnameOverride",
        ],
    ),
    (
        "jwt.secret=x",
        &["at '/jwt': additional properties 'secret' not allowed"],
    ),
    (
        "bcryptCost=3",
        &["at '/bcryptCost': minimum: got 3, want 4"],
    ),
    (
        "bcryptCost=32",
        &["at '/bcryptCost': maximum: got 32, want 31"],
    ),
    (
        "accessTokenExpireMinutes=0",
        &["at '/accessTokenExpireMinutes': minimum: got 0, want 1"],
    ),
    (
        "registration=maybe",
        &["at '/registration': value must be one of 'closed', 'open'"],
    ),
    (
        "image.pullPolicy=Sometimes",
        &["at '/image/pullPolicy': value must be one of"],
    ),
    (
        "image.digest=sha256:0123",
        &["at '/image/digest': 'sha256:0123' does not match pattern"],
    ),
    (
        "persistence.size=large",
        &["at '/persistence/size': 'large' does not match pattern"],
    ),
    (
        "persistence.accessModes={ReadOnlyMany}",
        &["at '/persistence/accessModes/0': value must be one of"],
    ),
    (
        "ingress.host=https://auth.example.com",
        &["at '/ingress/host': 'https://auth.example.com' does not match pattern"],
    ),
];

const OF_TRANSCRIPTION: [Refusal; 22] = [
    (
        "jwt.existingSecret=",
        &[
            "jwt.existingSecret: name the Secret with the key that tokens are verified with, that of the auth service.",
            "kubectl create secret generic transcription-jwt --from-literal=JWT_SECRET_KEY=\"$(openssl rand -base64 48)\" --namespace team",
            "--set jwt.existingSecret=transcription-jwt",
        ],
    ),
    (
        "engine.whisper.modelPath=",
        &[
            "engine: there is none. Set exactly one:",
            "--set engine.whisper.modelPath=/models/base",
            "--set engine.gemini.existingSecret=gemini",
        ],
    ),
    (
        "engine.gemini.existingSecret=gemini",
        &[
            "engine: there are two. Set exactly one: engine.gemini.existingSecret for Gemini, or engine.whisper for Whisper.",
        ],
    ),
    (
        "engine.whisper.persistentVolumeClaim.claimName=models",
        &["engine.whisper: give exactly one source of the model"],
    ),
    (
        "engine.whisper.modelPath=,engine.gemini.existingSecret=gemini,engine.whisper.persistentVolumeClaim.claimName=models",
        &["engine: there are two."],
    ),
    (
        "s3.bucket=",
        &[
            "s3.bucket: name the bucket for recordings and texts, for example --set s3.bucket=recordings. It must exist.",
        ],
    ),
    (
        "s3.endpoint=minio:9000",
        &[
            "s3.endpoint: \"minio:9000\" is no address: write http or https, a host, and a port if there is one",
        ],
    ),
    (
        "engine.gemini.baseURL=gateway",
        &["engine.gemini.baseURL: \"gateway\" is no address"],
    ),
    (
        "authTokenURL=/token",
        &["authTokenURL: \"/token\" is no address"],
    ),
    (
        "tracing.otlpEndpoint=collector",
        &["tracing.otlpEndpoint: \"collector\" is no address"],
    ),
    (
        "autoscaling.enabled=true,autoscaling.minReplicas=6",
        &["autoscaling: minReplicas (6) must not be larger than maxReplicas (5)"],
    ),
    (
        "podDisruptionBudget.maxUnavailable=0",
        &[
            "podDisruptionBudget.maxUnavailable is 0: no node with a pod could ever be drained. Set it to 1 or more.",
        ],
    ),
    (
        "podDisruptionBudget.maxUnavailable=0%",
        &["podDisruptionBudget.maxUnavailable is 0"],
    ),
    (
        "corsAllowedOrigins={app.example.com}",
        &["corsAllowedOrigins: \"app.example.com\" is no origin"],
    ),
    (
        "ingress.enabled=true",
        &["ingress.enabled needs a host: set ingress.host, for example transcription.example.com."],
    ),
    (
        "smokeTest.existingSecret=smoke",
        &[
            "smokeTest.existingSecret needs smokeTest.authURL: set the address of the auth service, for example http://auth:8001.",
        ],
    ),
    (
        "service.nodePort=30080",
        &["service.nodePort needs service.type NodePort or LoadBalancer"],
    ),
    (
        "extraEnv[0].name=AWS_REGION,extraEnv[0].value=x",
        &["extraEnv: AWS_REGION is set by the chart: remove it, and see s3.region."],
    ),
    (
        "fullnameOverride=Transcription",
        &["The objects would be called \"Transcription\", and a Service cannot"],
    ),
    (
        "s3.buket=recordings",
        &["at '/s3': additional properties 'buket' not allowed"],
    ),
    (
        "maxConcurrent=0",
        &["at '/maxConcurrent': minimum: got 0, want 1"],
    ),
    (
        "engineTimeoutSeconds=ten",
        &["at '/engineTimeoutSeconds': got string, want integer"],
    ),
];

const OF_OPERATOR: [Refusal; 9] = [
    (
        "watchNamespaces={Team}",
        &[
            "watchNamespaces: \"Team\" is no name of a namespace: list names, for example {team-a,team-b}.",
        ],
    ),
    (
        "imagePrefix=https://registry.example.com",
        &["imagePrefix: \"https://registry.example.com\" is no registry and path"],
    ),
    (
        "imagePrefix=registry.example.com/",
        &["without a slash at the end"],
    ),
    (
        "tracing.otlpEndpoint=collector:4318",
        &["tracing.otlpEndpoint: \"collector:4318\" is no address"],
    ),
    (
        "podDisruptionBudget.maxUnavailable=0",
        &["podDisruptionBudget.maxUnavailable is 0"],
    ),
    (
        "extraEnv[0].name=RUST_LOG,extraEnv[0].value=debug",
        &["extraEnv: RUST_LOG is set by the chart: remove it, and see logFilter."],
    ),
    (
        "fullnameOverride=Operator",
        &["The objects would be called \"Operator\""],
    ),
    ("logFormat=xml", &["at '/logFormat': value must be one of"]),
    (
        "crd.install=false",
        &["at '': additional properties 'crd' not allowed"],
    ),
];

/// What a chart needs.
fn needed(chart: &str) -> &'static str {
    match chart {
        "auth" => "jwt.existingSecret=keys",
        "transcription" => {
            "jwt.existingSecret=keys,s3.bucket=recordings,engine.whisper.modelPath=/models/base"
        }
        _ => "replicas=2",
    }
}

#[tokio::test]
async fn each_wrong_value_is_refused_with_a_sentence() {
    for (chart, refusals) in [
        ("auth", &OF_AUTH[..]),
        ("transcription", &OF_TRANSCRIPTION),
        ("operator", &OF_OPERATOR),
    ] {
        let runs = refusals
            .iter()
            .flat_map(|refusal| Helm::BOTH.map(|helm| (helm, refusal)));
        let said = together(runs, async |(helm, (set, words)): (Helm, &Refusal)| {
            let arguments = ["--set", needed(chart), "--set", set];
            let said = helm.template(chart, &arguments).await;
            let said = said.expect_err(&format!("{helm:?} takes {set}"));
            for words in *words {
                assert!(said.contains(words), "{helm:?} {set}: {words}\n{said}");
            }
            said
        });

        let said = said.await.concat();
        let rules = fs::read_to_string(folder(chart).join("templates/_validate.tpl")).unwrap();
        let sentences = rules.lines().filter_map(sentence).collect::<Vec<_>>();
        assert!(sentences.len() > 5, "{sentences:?}");
        for sentence in sentences {
            assert!(said.contains(sentence), "no case meets this: {sentence}");
        }
    }
}

#[tokio::test]
async fn what_is_needed_is_enough() {
    for chart in CHARTS {
        for helm in Helm::BOTH {
            helm.template(chart, &["--set", needed(chart)])
                .await
                .unwrap();
        }
    }
}

/// The longest part of a rule's sentence in which nothing is filled in.
fn sentence(rule: &str) -> Option<&str> {
    let (_, text) = rule.split_once("{{- fail ")?;
    let (text, _) = text.rsplit_once("\\n\"")?;
    let text = text.trim_start_matches("(printf ").trim_start_matches('"');
    let lines = text.split("\\n").flat_map(|line| line.split("\\\""));
    let parts = lines.flat_map(|line| {
        let parts = line.split('%').enumerate();
        // After the sign is what kind of a value is filled in.
        parts.map(|(number, part)| &part[number.min(1)..])
    });
    parts.max_by_key(|part| part.len())
}
