//! The plan of rsub: its settings after every check that needs no network.

use std::fs::File;
use std::io::BufReader;

use mqtt_client::Reconnect;
use mqtt_codec::{ProtocolVersion, RetainHandling, Subscription, TopicFilter};

use crate::commands::silence::cannot_combine;
use crate::commands::subscriber::SubscribePlan;
use crate::exit_status::Class;
use crate::failure::Failure;
use crate::output::diff::Diff;
use crate::output::printer::Printing;
use crate::wording::system_text;

use super::RsubSettings;

impl TryFrom<RsubSettings> for SubscribePlan {
    type Error = Failure;

    /// Makes the plan. Returns the first error that can be found without a network.
    fn try_from(mut settings: RsubSettings) -> Result<Self, Failure> {
        settings.check_silence()?;
        let connection = &settings.connection;
        // After a reconnect the broker would send all retained messages of a snapshot again.
        let reconnect = if settings.snapshot {
            Reconnect::Never
        } else {
            Reconnect::Always
        };
        let mut plan = Self::new("rsub", reconnect, connection, &settings.output)?;
        // -U without -t is permitted: with -c, rsub removes subscriptions of an earlier run.
        if settings.topics.is_empty()
            && settings.unsubscribe.is_empty()
            && settings.handlers.topic_filters().next().is_none()
        {
            return Err(Failure::usage(
                "You must specify a topic to subscribe to (-t) or unsubscribe from (-U).",
            ));
        }
        settings.handlers.check()?;
        // -R drops the messages that --retained-only waits for, so rsub would wait for ever.
        if settings.snapshot && (settings.output.no_retained || settings.output.retain_as_published)
        {
            return Err(Failure::usage(
                "--snapshot cannot be combined with -R or --retain-as-published.",
            ));
        }
        let diff = settings.diff()?;
        if settings.output.no_retained && settings.retained_only {
            return Err(Failure::usage(
                "Combining '-R' and '--retained-only' makes no sense.",
            ));
        }
        // --random-filter would withhold the last message of a topic, although --on-change counts it as printed.
        let selection = settings.selection.rules()?;
        if selection.is_some() && settings.chance.is_some() {
            return Err(Failure::usage(
                "--random-filter cannot be combined with --on-change or --every.",
            ));
        }
        // With -C, the broker must not have more messages in flight than this run prints, because rsub would leave the
        // others unacknowledged.
        if let Some(count) = settings.count {
            connection.take_at_most(&mut plan.client.options, count);
        }
        plan.printing = Printing {
            filter_out: settings.filter_out.clone(),
            retained_only: settings.retained_only,
            remove_retained: settings.remove_retained,
            is_snapshot: settings.snapshot,
            diff,
            selection,
            chance: settings.chance,
            // --watch needs a terminal. Its escape sequences would spoil a file or a pipe.
            watch: (settings.watch && settings.output.style().terminal)
                .then(|| connection.first_host().to_owned()),
            message_rate: settings.message_rate,
            is_silent: settings.handlers.is_used() || settings.silence.is_check,
            ..plan.printing
        };
        let mut topics = settings.topics;
        topics.extend(settings.handlers.topic_filters().cloned());
        let is_check = settings.silence.is_check;
        let expectation = settings.silence;
        let expectation = expectation.expectation(topics.clone(), settings.filter_out)?;
        let subscription_options = settings.output.subscription_options(settings.qos);
        // All filters have the same options and are sent in one SUBSCRIBE.
        let subscription = |topic_filter| Subscription {
            topic_filter,
            options: subscription_options,
        };
        Ok(Self {
            subscriptions: topics.into_iter().map(subscription).collect(),
            unsubscribe: settings.unsubscribe,
            // With --message-rate rsub prints no messages, so -C has nothing to count.
            count: settings.count.filter(|_| !settings.message_rate),
            only_subscribe: settings.only_subscribe,
            is_snapshot: settings.snapshot,
            idle: settings.idle,
            expectation,
            is_check,
            handlers: settings.handlers.is_used().then_some(settings.handlers),
            ..plan
        })
    }
}

impl RsubSettings {
    /// Reads the backup of `--diff`. Topics that no filter matches are not compared.
    ///
    /// # Errors
    /// If the backup cannot be read, or another option contradicts `--diff`.
    fn diff(&self) -> Result<Option<Diff>, Failure> {
        let Some(path) = &self.diff else {
            return Ok(None);
        };
        if !self.snapshot {
            return Err(Failure::usage("--diff needs --snapshot."));
        }
        let others = [
            ("--remove-retained", self.remove_retained),
            ("-C", self.count.is_some()),
            ("--exec", self.handlers.is_used()),
            ("--jsonl", self.output.jsonl),
            ("-F", self.output.format.is_some()),
            ("--watch", self.watch),
            ("--message-rate", self.message_rate),
            ("--random-filter", self.chance.is_some()),
        ];
        if let Some((other, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
            return Err(cannot_combine("--diff", other));
        }
        let is_wanted = |topic_name: &str| {
            let has = |filters: &[TopicFilter]| filters.iter().any(|f| f.matches(topic_name));
            has(&self.topics) && !has(&self.filter_out)
        };
        let has_properties = self.connection.version() == ProtocolVersion::V5_0;
        let diff = File::open(path)
            .and_then(|file| Diff::read(BufReader::new(file), has_properties, is_wanted));
        diff.map(Some).map_err(|error| {
            let (path, text) = (path.display(), system_text(&error));
            Failure::usage(format!(
                "Unable to read the backup '{path}': {text} (--diff)."
            ))
            .with_class(Class::NoInput)
        })
    }

    /// Checks the options about silence together with the others.
    ///
    /// # Errors
    /// If `--expect` or `--check` is combined with an option that contradicts it.
    fn check_silence(&mut self) -> Result<(), Failure> {
        let other_ends = [
            ("-C", self.count.is_some()),
            ("--idle", self.idle.is_some()),
            ("--snapshot", self.snapshot),
            ("--retained-only", self.retained_only),
            ("--remove-retained", self.remove_retained),
            ("--exec", self.handlers.is_used()),
            ("--watch", self.watch),
            ("--message-rate", self.message_rate),
        ];
        let other_end = other_ends.into_iter().find(|(_, is_given)| *is_given);
        if let (Some((option, _)), true) = (other_end, self.silence.is_check) {
            return Err(cannot_combine("--check", option));
        }
        if self.only_subscribe && self.silence.is_used() {
            return Err(cannot_combine("--expect", "-E"));
        }
        // With Retain As Published, RETAIN does not show that a message is old. If the broker sends no old messages, all
        // of them count. MQTT before 5.0 has neither option.
        let is_unclear = self.silence.is_used()
            && !self.silence.counts_retained
            && self.output.retain_as_published
            && self.connection.version() == ProtocolVersion::V5_0;
        if is_unclear {
            if self.output.retain_handling != Some(RetainHandling::DoNotSend) {
                let failure = cannot_combine("--expect", "--retain-as-published");
                return Err(failure.with_hint(
                    "Old retained messages look like new ones then. Add --retain-handling never, or --expect-retained to count them.",
                ));
            }
            self.silence.counts_retained = true;
        }
        Ok(())
    }
}
