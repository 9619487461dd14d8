//! The subcommand `rbroker service` of Windows: installs and uninstalls the service `rbroker`, and runs the broker for
//! the service manager, which starts and stops it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, Command};
use windows_service::service::{
    ServiceAccess, ServiceControl, ServiceControlAccept, ServiceErrorControl, ServiceExitCode,
    ServiceInfo, ServiceStartType, ServiceState, ServiceStatus, ServiceType,
};
use windows_service::service_control_handler::{self, ServiceControlHandlerResult};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};
use windows_service::{define_windows_service, service_dispatcher};

use super::serve;
use super::subcommand;
use crate::commands::signals::{Event, Request};
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::flags::help::{Body, Help, Section};
use crate::output::standard_streams;

/// The help text before and after the list of options.
const HELP: Help = Help {
    about: "Install, uninstall or run the Windows service 'rbroker'",
    usage: &["rbroker service install|uninstall|run [OPTIONS]"],
    subcommands: &[
        (
            "install",
            "Install the service, which starts with Windows. Needs an administrator",
        ),
        ("uninstall", "Stop the service and remove it"),
        ("run", "Run the broker; the service manager calls this"),
    ],
    examples: &[
        (
            "Install the service and start it",
            "rbroker service install && sc start rbroker",
        ),
        (
            "Let the running service read its configuration again",
            "sc control rbroker paramchange",
        ),
    ],
    notes: &[Section {
        heading: "Files",
        body: Body::Text(
            "Without -c, the configuration is %ProgramData%\\rbroker\\rbroker.conf. 'install' creates \
             this file if it does not exist. Relative paths in a configuration start at its folder.",
        ),
    }],
};

/// The name of the service.
const NAME: &str = "rbroker";

/// The account of the service. It has few permissions, and may use the network.
const ACCOUNT: &str = r"NT AUTHORITY\LocalService";

/// The time in which the service manager expects the next report during start and end. A large store takes long to
/// read.
const PATIENCE: Duration = Duration::from_secs(600);

fn command() -> Command {
    let file = Arg::new("config-file")
        .short('c')
        .long("config-file")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help_heading(subcommand::OPTIONS)
        .help("Configuration file of the service");
    let action = Arg::new("action")
        .required(true)
        .value_parser(["install", "uninstall", "run"])
        .value_name("ACTION")
        .help_heading("Arguments")
        .help("install, uninstall or run");
    Command::new("rbroker service")
        .disable_help_flag(true)
        .args([action, file])
        .arg(subcommand::help_option())
}

/// Runs the subcommand. `arguments` are the words after `service`.
pub(super) fn run(arguments: &[OsString]) -> Result<Status, Failure> {
    let Some(matches) = subcommand::matches(command(), HELP, arguments)? else {
        return Ok(Status::Success);
    };
    let given = matches.get_one::<PathBuf>("config-file");
    match matches.get_one::<String>("action").map(String::as_str) {
        Some("install") => install(given.map(PathBuf::as_path)),
        Some("uninstall") => uninstall(),
        _ => {
            // The service manager calls `main_of_service` on a thread of its own, and this call waits for its end.
            service_dispatcher::start(NAME, service_main)
                .map_err(|error| service_failure("Cannot run as a service", &error))?;
            Ok(Status::Success)
        }
    }
}

/// Installs the service. The configuration is checked first, because a service has no terminal to report its errors.
fn install(given: Option<&Path>) -> Result<Status, Failure> {
    let file = match given {
        Some(path) => std::path::absolute(path)
            .map_err(|error| Failure::failed(format!("Cannot find the configuration: {error}.")))?,
        None => create_default_configuration()?,
    };
    serve::check_file(&file)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("Cannot find this program: {error}.")))?;
    let failure = |error| service_failure("Cannot install the service", &error);
    let access = ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE;
    let manager = ServiceManager::local_computer(None::<&OsStr>, access).map_err(failure)?;
    let info = ServiceInfo {
        name: NAME.into(),
        display_name: "rbroker (MQTT broker)".into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: ServiceStartType::AutoStart,
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: ["service", "run", "-c"]
            .map(OsString::from)
            .into_iter()
            .chain([file.clone().into()])
            .collect(),
        dependencies: Vec::new(),
        account_name: Some(ACCOUNT.into()),
        account_password: None,
    };
    manager
        .create_service(&info, ServiceAccess::QUERY_STATUS)
        .map_err(failure)?;
    let text = format!(
        "The service 'rbroker' is installed with the configuration '{}'. 'sc start rbroker' starts it.\n",
        file.display()
    );
    // The service is installed even if nobody can read this line.
    let _ = standard_streams::print(&text);
    Ok(Status::Success)
}

/// Returns the path of the default configuration. If the file does not exist, creates it with a store and a log in its
/// folder.
fn create_default_configuration() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("ProgramData").map(PathBuf::from);
    let folder = folder.ok_or_else(|| Failure::failed("The variable ProgramData is not set."))?;
    let folder = folder.join("rbroker");
    let file = folder.join("rbroker.conf");
    if !file.exists() {
        let text = format!(
            "# The configuration of the service 'rbroker'. Without a listener, only this machine can connect.\r\n\
             persistence true\r\n\
             persistence_location {0}\r\n\
             log_dest file {0}\\rbroker.log\r\n",
            folder.display()
        );
        let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, text));
        written.map_err(|error| {
            Failure::failed(format!("Cannot create '{}': {error}.", file.display()))
        })?;
    }
    Ok(file)
}

/// Stops the service and removes it. The configuration and the store stay.
fn uninstall() -> Result<Status, Failure> {
    let failure = |error| service_failure("Cannot uninstall the service", &error);
    let manager = ServiceManager::local_computer(None::<&OsStr>, ServiceManagerAccess::CONNECT)
        .map_err(failure)?;
    let access = ServiceAccess::STOP | ServiceAccess::DELETE;
    let service = manager.open_service(NAME, access).map_err(failure)?;
    // The error of a service that is not running is ignored. Windows removes a running service after the service has
    // stopped.
    let _ = service.stop();
    service.delete().map_err(failure)?;
    let _ = standard_streams::print("The service 'rbroker' is uninstalled.\n");
    Ok(Status::Success)
}

fn service_failure(subject: &str, error: &windows_service::Error) -> Failure {
    match error {
        windows_service::Error::Winapi(cause) => Failure::failed(format!(
            "{subject}: {}.",
            crate::wording::system_text(cause)
        )),
        other => Failure::failed(format!("{subject}: {other}.")),
    }
}

define_windows_service!(service_main, main_of_service);

/// Runs the broker, and reports its state to the service manager. The arguments of the service manager are ignored,
/// because the configuration is an argument of the process.
fn main_of_service(_: Vec<OsString>) {
    if let Err(failure) = serve_as_service() {
        log::error!(target: mqtt_broker::EVENTS, "{}", failure.message());
    }
}

fn serve_as_service() -> Result<(), Failure> {
    let failure = |error| service_failure("Cannot run as a service", &error);
    // The events exist before the broker listens to them, so that no request is lost during the start.
    let open = |request| {
        Event::open(request)
            .map_err(|error| Failure::failed(format!("Cannot open an event: {error}.")))
    };
    let (stop, reload) = (open(Request::Stop)?, open(Request::Reload)?);
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown => answer(&stop),
        ServiceControl::ParamChange => answer(&reload),
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let handle = service_control_handler::register(NAME, handler).map_err(failure)?;
    handle
        .set_service_status(status(ServiceState::StartPending, Status::Success))
        .map_err(failure)?;
    let result = configuration_of_process().and_then(|file| {
        serve::serve_as_service(&file, move || {
            // If the service manager gets no report, it ends the process. So an error of the report is ignored.
            let _ = handle.set_service_status(status(ServiceState::Running, Status::Success));
        })
    });
    let end = match &result {
        Ok(status) => *status,
        Err(failure) => failure.status,
    };
    handle
        .set_service_status(status(ServiceState::Stopped, end))
        .map_err(failure)?;
    result.map(drop)
}

/// Returns the configuration file that `install` has written into the command line of the service.
fn configuration_of_process() -> Result<PathBuf, Failure> {
    let arguments: Vec<_> = std::env::args_os().skip(2).collect();
    let matches = subcommand::matches(command(), HELP, &arguments)?;
    let given = matches.and_then(|matches| matches.get_one::<PathBuf>("config-file").cloned());
    given.map_or_else(create_default_configuration, Ok)
}

fn answer(event: &Event) -> ServiceControlHandlerResult {
    match event.set() {
        Ok(()) => ServiceControlHandlerResult::NoError,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or_default();
            ServiceControlHandlerResult::Other(number.cast_unsigned())
        }
    }
}

/// Returns a report to the service manager.
fn status(state: ServiceState, end: Status) -> ServiceStatus {
    let accepted = match state {
        ServiceState::Running => {
            ServiceControlAccept::STOP
                | ServiceControlAccept::SHUTDOWN
                | ServiceControlAccept::PARAM_CHANGE
        }
        _ => ServiceControlAccept::empty(),
    };
    let exit_code = match end {
        Status::Success => ServiceExitCode::Win32(0),
        other => ServiceExitCode::ServiceSpecific(other.code().into()),
    };
    let is_pending = state == ServiceState::StartPending;
    ServiceStatus {
        service_type: ServiceType::OWN_PROCESS,
        current_state: state,
        controls_accepted: accepted,
        exit_code,
        checkpoint: 0,
        wait_hint: if is_pending { PATIENCE } else { Duration::ZERO },
        process_id: None,
    }
}
