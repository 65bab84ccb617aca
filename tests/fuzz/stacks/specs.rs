//! Values that a schema allows: of each field what its schema says, and now and then what its name lets expect.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::string::string_regex;
use serde_json::{Map, Value, json};

/// How often a field that may be left out is there.
const IS_THERE: f64 = 0.3;

/// Values that this schema allows; for rules in CEL see the API server.
pub fn of(schema: &Value) -> BoxedStrategy<Value> {
    value(schema, "")
}

fn value(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    if let Some(words) = schema["enum"].as_array() {
        return prop::sample::select(words.clone()).boxed();
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return prop_oneof![
            any::<u16>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            quantity(),
            string(schema, name),
        ]
        .boxed();
    }
    match schema["type"].as_str() {
        Some("object") => object(schema),
        Some("array") => array(schema, name),
        Some("string") => string(schema, name),
        Some("integer") => integer(schema),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("number") => any::<f64>().prop_map(Value::from).boxed(),
        _ => Just(json!({})).boxed(),
    }
}

fn object(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(fields) = schema["properties"].as_object() {
        let required = schema["required"].as_array();
        let is_required = |name: &str| {
            let mut names = required.into_iter().flatten();
            names.any(|required| required == name)
        };
        let empty = Just(Map::new()).boxed();
        let all = fields.iter().fold(empty, |object, (name, schema)| {
            let value = value(schema, name);
            let field = if is_required(name) {
                value.prop_map(Some).boxed()
            } else {
                prop::option::weighted(IS_THERE, value).boxed()
            };
            let name = name.clone();
            (object, field)
                .prop_map(move |(mut object, value)| {
                    object.extend(value.map(|value| (name.clone(), value)));
                    object
                })
                .boxed()
        });
        return all.prop_map(Value::Object).boxed();
    }
    let values = value(&schema["additionalProperties"], "");
    let keys = prop_oneof![
        3 => "[a-z]{1,8}(\\.[a-z]{1,5}/[a-z]{1,8})?",
        1 => "[ -~]{0,12}",
        1 => any::<String>(),
        1 => Just("app.kubernetes.io/instance".to_owned()),
        1 => Just("cpu".to_owned()),
    ];
    vec((keys, values), 0..4)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()))
        .boxed()
}

fn array(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    let number = |bound: &str| {
        schema[bound]
            .as_u64()
            .map(|bound| usize::try_from(bound).unwrap())
    };
    let least = number("minItems").unwrap_or(0);
    let most = number("maxItems").unwrap_or(3).min(3).max(least);
    vec(value(&schema["items"], name), least..=most)
        .prop_map(Value::Array)
        .boxed()
}

fn integer(schema: &Value) -> BoxedStrategy<Value> {
    let bound = |name: &str, or: i64| {
        // They are written as floating-point numbers.
        #[expect(clippy::cast_possible_truncation, reason = "bounds are whole numbers")]
        let bound = schema[name].as_f64().map(|bound| bound as i64);
        bound.unwrap_or(or)
    };
    let (least, most) = match schema["format"].as_str() {
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        _ => (i64::MIN, i64::MAX),
    };
    let (least, most) = (bound("minimum", least), bound("maximum", most));
    prop_oneof![
        2 => (least.max(0)..=most.min(100).max(least.max(0))).prop_map(Value::from),
        1 => Just(least).prop_map(Value::from),
        1 => Just(most).prop_map(Value::from),
        1 => (least..=most).prop_map(Value::from),
    ]
    .boxed()
}

fn quantity() -> BoxedStrategy<Value> {
    "[0-9]{1,19}(\\.[0-9]{1,10})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]{1,3})?"
        .prop_map(Value::from)
        .boxed()
}

fn string(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    let number = |bound: &str| {
        schema[bound]
            .as_u64()
            .map(|bound| usize::try_from(bound).unwrap())
    };
    let least = number("minLength").unwrap_or(0);
    let most = number("maxLength").unwrap_or(2000);
    let fits = move |text: &String| (least..=most).contains(&text.chars().count());
    if let Some(pattern) = schema["pattern"].as_str() {
        // The same everywhere in a text.
        let pattern = pattern.trim_start_matches('^').trim_end_matches('$');
        let texts = string_regex(pattern).unwrap();
        return texts
            .prop_filter("its length", fits)
            .prop_map(Value::from)
            .boxed();
    }
    let longest = "a".repeat(most.min(300));
    let texts = prop_oneof![
        8 => expected(name),
        2 => "[a-z]([a-z0-9-]{0,12}[a-z0-9])?",
        1 => "[ -~]{0,30}",
        1 => any::<String>(),
        1 => Just(longest),
        1 => Just("$(JWT_SECRET_KEY)".to_owned()),
        1 => Just("a\nb: c\r\n---\n".to_owned()),
        1 => Just(String::new()),
    ];
    texts
        .prop_filter("its length", fits)
        .prop_map(Value::from)
        .boxed()
}

/// What a field of this name usually holds.
fn expected(name: &str) -> BoxedStrategy<String> {
    let words: &[&str] = match name {
        "trustedProxies" | "cidr" | "except" => {
            &["10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "10.0.0.1/32"]
        }
        "corsAllowedOrigins" => &["*", "https://app.example.com", "http://localhost:3000"],
        "endpoint" | "otlpEndpoint" | "baseURL" => &[
            "http://minio:9000",
            "https://[::1]:8443/a/b",
            "http://10.0.0.1",
            "http://a/\"b'{}",
        ],
        "host" => &["a.example.com", "b.example.com"],
        "image" => &["registry.example.com/a:1", "a@sha256:0", "a b"],
        "operator" => &["In", "NotIn", "Exists", "DoesNotExist", "Equal", "Gt"],
        "effect" => &["NoSchedule", "NoExecute", "PreferNoSchedule"],
        "whenUnsatisfiable" => &["DoNotSchedule", "ScheduleAnyway"],
        "protocol" => &["TCP", "UDP", "SCTP"],
        "topologyKey" => &["kubernetes.io/hostname"],
        "storageClassName" | "className" => &["fast", "nginx"],
        "accessModes" => &["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"],
        "modelPath" | "subPath" => &["/models/base", "models/../..", "../x"],
        "fieldPath" => &["metadata.name", "status.podIP", "metadata.labels['a']"],
        _ => &["a", "demo", "gemini", "key"],
    };
    prop::sample::select(words.to_vec())
        .prop_map(str::to_owned)
        .boxed()
}
