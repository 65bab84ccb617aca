// How a static program looks up the names of hosts: /etc/hosts, then DNS.
//
// /etc/nsswitch.conf may name more than these two, and glibc then loads shared libraries. A static program that does so crashes: with
// `myhostname`, which many desktops have, at once. In a container there is no such file, and these two are all there is.

#include <nss.h>

__attribute__((constructor)) static void look_up_in_files_and_dns(void) {
    __nss_configure_lookup("hosts", "files dns");
}
