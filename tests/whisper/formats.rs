//! Whisper hears every container, codec, sample rate and number of channels that the service takes, and files that are not as they
//! should be.

use transcription_tests::client::Answer;
use transcription_tests::sound::{conversation, ffmpeg, samples, wav};
use transcription_tests::speech::{Clip, librivox, times_heard, word_errors, words};
use transcription_tests::transcription::Transcription;

/// How many words more than in the original may be wrong.
const MORE_ERRORS: usize = 2;

/// A way to pack sound: the name of the format in the answer's key, what ffmpeg is told, the rates that it can have.
struct Container {
    extension: &'static str,
    arguments: &'static [&'static str],
    rates: &'static [u32],
}

const RATES: &[u32] = &[8_000, 16_000, 22_050, 44_100, 48_000];
/// Opus has no others.
const OPUS_RATES: &[u32] = &[8_000, 16_000, 48_000];

const CONTAINERS: [Container; 10] = [
    Container {
        extension: "wav",
        arguments: &[],
        rates: RATES,
    },
    Container {
        extension: "flac",
        arguments: &[],
        rates: RATES,
    },
    Container {
        extension: "mp3",
        arguments: &["-c:a", "libmp3lame", "-b:a", "64k"],
        rates: RATES,
    },
    Container {
        extension: "ogg",
        arguments: &["-c:a", "libvorbis"],
        rates: RATES,
    },
    Container {
        extension: "ogg",
        arguments: &["-c:a", "libopus"],
        rates: OPUS_RATES,
    },
    Container {
        extension: "webm",
        arguments: &["-c:a", "libopus"],
        rates: OPUS_RATES,
    },
    Container {
        extension: "mka",
        arguments: &["-c:a", "libvorbis"],
        rates: RATES,
    },
    // With its index at the end, as ffmpeg and phones write it.
    Container {
        extension: "m4a",
        arguments: &["-c:a", "aac"],
        rates: RATES,
    },
    Container {
        extension: "aac",
        arguments: &["-c:a", "aac"],
        rates: RATES,
    },
    Container {
        extension: "aiff",
        arguments: &[],
        rates: RATES,
    },
];

/// What is heard in a file, which must be taken for this format.
async fn heard(stack: &Transcription, file: Vec<u8>, extension: &str, name: &str) -> String {
    let answer = stack.transcribe("1", name, file).await;
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    let key = answer.json["audio_key"].as_str().unwrap();
    assert!(key.ends_with(&format!(".{extension}")), "{name}: {key}");
    answer.json["transcription"].as_str().unwrap().to_owned()
}

/// Asserts that a file is heard nearly as well as the clip that it was made of.
async fn assert_heard(
    stack: &Transcription,
    clip: &Clip,
    file: Vec<u8>,
    extension: &str,
    name: &str,
) {
    let text = heard(stack, file, extension, name).await;
    let errors = word_errors(&text, &clip.words);
    println!("{name}: {errors} wrong in: {text}");
    assert!(errors <= MORE_ERRORS, "{name}: {text}");
}

/// A clip in which nothing is heard wrong, so that what is wrong in another file is the other file's.
async fn clip_without_errors(stack: &Transcription) -> Clip {
    let clip = librivox().swap_remove(0);
    let text = heard(stack, clip.wav.clone(), "wav", "original").await;
    assert_eq!(word_errors(&text, &clip.words), 0, "{text}");
    clip
}

#[tokio::test]
async fn every_container_is_heard_at_every_rate_in_mono_and_stereo() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = clip_without_errors(&stack).await;

    let mut files = 0;
    for container in CONTAINERS {
        // What mixes channels does not know of rates.
        let mono = container.rates.iter().map(|rate| (rate, "1"));
        for (rate, channels) in mono.chain([(&44_100, "2"), (&8_000, "2")]) {
            if !container.rates.contains(rate) {
                continue;
            }
            let rate = rate.to_string();
            let mut arguments = container.arguments.to_vec();
            arguments.extend(["-ar", &rate, "-ac", channels]);
            let file = ffmpeg(&clip.wav, &arguments, container.extension).await;
            let name = format!("{} {}", container.extension, arguments.join(" "));
            assert_heard(&stack, &clip, file, container.extension, &name).await;
            files += 1;
        }
    }
    assert_eq!(files, 64);
}

#[tokio::test]
async fn every_kind_of_sample_and_up_to_eight_channels_are_heard() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = clip_without_errors(&stack).await;

    let kinds = [
        "pcm_u8",
        "pcm_s16le",
        "pcm_s24le",
        "pcm_s32le",
        "pcm_f32le",
        "pcm_f64le",
        "pcm_alaw",
        "pcm_mulaw",
        "adpcm_ms",
        "adpcm_ima_wav",
    ];
    for kind in kinds {
        let file = ffmpeg(&clip.wav, &["-c:a", kind], "wav").await;
        assert_heard(&stack, &clip, file, "wav", kind).await;
    }
    for kind in ["pcm_s8", "pcm_s24be", "pcm_f32be", "pcm_mulaw"] {
        let file = ffmpeg(&clip.wav, &["-c:a", kind], "aiff").await;
        assert_heard(&stack, &clip, file, "aiff", kind).await;
    }
    for (extension, layouts) in [
        ("wav", &["3.0", "4.0", "5.0", "5.1", "6.1", "7.1"][..]),
        ("flac", &["3.0", "quad", "5.0", "5.1", "6.1", "7.1"]),
        ("ogg", &["3.0", "quad", "5.0", "5.1", "6.1", "7.1"]),
    ] {
        for layout in layouts {
            let layout = format!("aformat=channel_layouts={layout}");
            let mut arguments = vec!["-af", &layout];
            if extension == "ogg" {
                arguments.extend(["-c:a", "libvorbis"]);
            }
            // The recording is in one channel, and fainter when it is mixed down.
            let file = ffmpeg(&clip.wav, &arguments, extension).await;
            let name = format!("{extension} {}", arguments.join(" "));
            assert_heard(&stack, &clip, file, extension, &name).await;
        }
    }
    // The words are in one channel only.
    for side in ["c0=c0|c1=0*c0", "c0=0*c0|c1=c0"] {
        let pan = format!("pan=stereo|{side}");
        let file = ffmpeg(&clip.wav, &["-af", &pan], "wav").await;
        assert_heard(&stack, &clip, file, "wav", side).await;
    }
    let lossless = ffmpeg(&clip.wav, &["-c:a", "alac"], "m4a").await;
    assert_heard(&stack, &clip, lossless, "m4a", "alac").await;
}

#[tokio::test]
async fn tagged_padded_and_variable_files_are_heard() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = clip_without_errors(&stack).await;
    let mp3 = ["-c:a", "libmp3lame"];

    let tags = [
        "-q:a",
        "6",
        "-metadata",
        "title=A recording",
        "-id3v2_version",
        "3",
        "-write_id3v1",
        "1",
    ];
    let variable = ffmpeg(&clip.wav, &[&mp3[..], &tags].concat(), "mp3").await;
    assert_heard(
        &stack,
        &clip,
        variable.clone(),
        "mp3",
        "variable rate, tags",
    )
    .await;
    // A cover picture of 300 kB, more than is looked at: ID3v2.3 with one frame of private data.
    let picture = 300_000_u32;
    let size = picture + 10;
    let sevens = [21, 14, 7, 0].map(|bits| u8::try_from(size >> bits & 0x7f).unwrap());
    let mut tagged = b"ID3\x03\0\0".to_vec();
    tagged.extend(sevens);
    tagged.extend(b"PRIV");
    tagged.extend(picture.to_be_bytes());
    tagged.extend([0; 2]);
    tagged.resize(tagged.len() + picture as usize, b'x');
    let no_tags = ["-id3v2_version", "0", "-write_xing", "0"];
    tagged.extend(ffmpeg(&clip.wav, &[&mp3[..], &no_tags].concat(), "mp3").await);
    assert_heard(&stack, &clip, tagged, "mp3", "a large picture, no index").await;
    for padding in [vec![0; 70_000], b"TAG and then something else".to_vec()] {
        let padded = [&variable[..], &padding].concat();
        assert_heard(&stack, &clip, padded, "mp3", "padding").await;
        let padded = [&clip.wav[..], &padding].concat();
        assert_heard(&stack, &clip, padded, "wav", "padding").await;
    }
    // A chunk before the sound, of an odd length; and a length that the program which wrote it never filled in.
    let mut chunky = clip.wav[..36].to_vec();
    chunky.extend(b"junk\x05\0\0\0abcde\0");
    chunky.extend(&clip.wav[36..]);
    let riff_bytes = u32::try_from(chunky.len() - 8).unwrap();
    chunky[4..8].copy_from_slice(&riff_bytes.to_le_bytes());
    assert_heard(&stack, &clip, chunky, "wav", "a chunk before the sound").await;
    let mut endless = clip.wav.clone();
    endless[4..8].fill(0xff);
    endless[40..44].fill(0xff);
    assert_heard(&stack, &clip, endless, "wav", "no length").await;
    let index_first = ["-c:a", "aac", "-movflags", "+faststart"];
    let file = ffmpeg(&clip.wav, &index_first, "m4a").await;
    assert_heard(&stack, &clip, file, "m4a", "index first").await;
    let fragments = ["-c:a", "aac", "-movflags", "frag_keyframe+empty_moov"];
    let file = ffmpeg(&clip.wav, &fragments, "m4a").await;
    assert_heard(&stack, &clip, file, "m4a", "in fragments").await;
    // Two recordings one after another in one file, which Ogg allows.
    let all = samples(&clip);
    let middle = all.len() / 2;
    let vorbis = ["-c:a", "libvorbis"];
    let mut chained = ffmpeg(&wav(&all[..middle]), &vorbis, "ogg").await;
    chained.extend(
        ffmpeg(
            &wav(&all[middle..]),
            &[&vorbis[..], &["-ar", "44100"]].concat(),
            "ogg",
        )
        .await,
    );
    let text = heard(&stack, chained, "ogg", "chained").await;
    // The cut may go through a word.
    assert!(word_errors(&text, &clip.words) <= MORE_ERRORS + 2, "{text}");
}

#[tokio::test]
async fn of_a_truncated_file_the_words_up_to_the_cut_are_heard() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = clip_without_errors(&stack).await;
    let spoken = words(&clip.words);

    let index_first = &["-c:a", "aac", "-movflags", "+faststart"][..];
    let kinds = [
        ("wav", &[][..]),
        ("flac", &[]),
        ("mp3", &["-c:a", "libmp3lame"]),
        ("ogg", &["-c:a", "libvorbis"]),
        ("ogg", &["-c:a", "libopus"]),
        ("webm", &["-c:a", "libopus"]),
        ("m4a", index_first),
        ("aac", &["-c:a", "aac"]),
        ("aiff", &[]),
    ];
    for (extension, arguments) in kinds {
        let mut file = ffmpeg(&clip.wav, arguments, extension).await;
        file.truncate(file.len() * 6 / 10);
        let name = format!("{extension} {}", arguments.join(" "));
        let text = heard(&stack, file, extension, &name).await;
        let errors = |count: usize| word_errors(&text, &spoken[..count].join(" "));
        let count = (0..=spoken.len())
            .min_by_key(|&count| errors(count))
            .unwrap();
        println!("{name}: {count} of {} words: {text}", spoken.len());
        // Six tenths of the bytes are six tenths of the time, give or take a header.
        let share = spoken.len() * 4 / 10..=spoken.len() * 7 / 10;
        assert!(share.contains(&count), "{name}: {text}");
        assert!(errors(count) <= MORE_ERRORS, "{name}: {text}");
    }
    // Its index is at the end, and so is gone.
    let mut file = ffmpeg(&clip.wav, &["-c:a", "aac"], "m4a").await;
    file.truncate(file.len() * 6 / 10);
    let answer = stack.transcribe("1", "a.m4a", file).await;
    assert_undecodable(&answer, "M4A/MP4");
}

#[tokio::test]
async fn what_cannot_be_decoded_says_why() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = librivox().swap_remove(4);

    // A film without sound.
    let film = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=duration=1:size=64x64:rate=5",
        "-map",
        "1:v",
        "-c:v",
        "mpeg4",
    ];
    let answer = stack
        .transcribe("1", "a.mp4", ffmpeg(&clip.wav, &film, "mp4").await)
        .await;
    let detail = assert_undecodable(&answer, "M4A/MP4");
    assert!(detail.contains("no audio track"), "{detail}");
    // A codec that no library here knows.
    let answer = stack
        .transcribe(
            "1",
            "a.mka",
            ffmpeg(&clip.wav, &["-c:a", "wmav2"], "mka").await,
        )
        .await;
    assert_undecodable(&answer, "Matroska");
    // Six channels, which the decoders of AAC and Opus here do not take.
    for (codec, extension, format) in [
        ("aac", "m4a", "M4A/MP4"),
        ("aac", "aac", "AAC"),
        ("libopus", "ogg", "Ogg"),
    ] {
        let six = ["-af", "aformat=channel_layouts=5.1", "-c:a", codec];
        let packed = ffmpeg(&clip.wav, &six, extension).await;
        let answer = stack.transcribe("1", "a", packed).await;
        let detail = assert_undecodable(&answer, format);
        println!("{detail}");
    }
    // A rate that nobody has.
    let mut wav = clip.wav.clone();
    wav[24..28].fill(0xff);
    let answer = stack.transcribe("1", "a.wav", wav).await;
    let detail = assert_undecodable(&answer, "WAV");
    assert!(detail.contains("4294967295 Hz"), "{detail}");
    // A head and nothing else.
    let answer = stack
        .transcribe("1", "a.wav", clip.wav[..44].to_vec())
        .await;
    assert_undecodable(&answer, "WAV");
}

fn assert_undecodable(answer: &Answer, format: &str) -> String {
    let detail = answer.assert_problem(422, "audio_undecodable");
    assert!(detail.contains(format), "{detail}");
    detail
}

#[tokio::test]
async fn a_tenth_of_a_second_is_a_recording() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = librivox().swap_remove(0);

    for rate in ["8000", "16000", "48000"] {
        let file = ffmpeg(&clip.wav, &["-t", "0.1", "-ar", rate], "wav").await;
        let answer = stack.transcribe("1", "a.wav", file).await;
        assert_eq!(answer.status, 200, "{rate}: {answer:?}");
        assert_eq!(answer.json["duration_seconds"], 0.1, "{rate}");
        assert_eq!(answer.json["transcription"], "", "{rate}");
    }
}

#[tokio::test]
async fn an_mp4_with_its_index_at_the_end_is_heard_from_the_bucket() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clips = librivox();
    let talk = conversation(&clips, 60, 0.3..2.0, 9);
    // Without loss and at a high rate: too large for the memory.
    let lossless = ["-ar", "96000", "-ac", "2", "-sample_fmt", "s32p"];
    let arguments = [&lossless[..], &["-c:a", "alac"]].concat();
    let file = ffmpeg(&wav(&talk.samples), &arguments, "m4a").await;
    assert!(file.len() > 8 * 1024 * 1024, "{}", file.len());
    let index = file.windows(4).position(|name| name == b"moov").unwrap();
    assert!(index > file.len() / 2, "{index}");

    let text = heard(&stack, file, "m4a", "index at the end").await;

    for clip in &clips {
        println!("{}", times_heard(&text, &clip.words));
    }
    let heard = clips.iter().map(|clip| times_heard(&text, &clip.words));
    assert_eq!(heard.sum::<usize>(), talk.played.len(), "{text}");
}

#[tokio::test]
async fn the_seconds_of_a_recording_are_counted_though_its_headers_do_not_tell_them() {
    let stack = Transcription::start_whisper("tiny.en", []).await;
    let clip = librivox().swap_remove(0);
    // A stream that was never finished: the number of samples is 0, which means unknown.
    let mut file = ffmpeg(&clip.wav, &[], "flac").await;
    file[21] &= 0xf0;
    file[22..26].fill(0);

    let answer = stack.transcribe("1", "a.flac", file).await;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json.get("duration_seconds").is_none(), "{answer:?}");
    let metrics = stack.metrics().await;
    let seconds = metrics
        .lines()
        .find_map(|line| line.strip_prefix("transcription_audio_seconds_total "));
    assert_eq!(seconds, Some("7.1"), "{metrics}");
}
