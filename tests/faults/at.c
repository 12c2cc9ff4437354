// SPDX-License-Identifier: Apache-2.0
/* Run a command and, at one of its system calls, kill it or have that call fail.
 *
 *     at list FILE COMMAND...      write "INDEX NUMBER PATH-OR-COMMAND" of every system call to FILE
 *     at kill INDEX COMMAND...     SIGKILL before the INDEXth is done
 *     at fail INDEX ERRNO COMMAND...
 *     at stop INDEX SIGNAL COMMAND...   another signal, there
 *
 * The calls of all threads are counted together, from the exec on; children that the
 * command forks are left alone. Ends with the command's exit code, or with 128 + signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

enum { PATH_BYTES = 64 };
enum { AT_LIST, AT_KILL, AT_FAIL, AT_STOP };

static int what;
static long at_index;
static long number; /* errno or signal */
static FILE *list;
static pid_t command, failing; /* failing: the thread whose call is to fail when it returns */

static void die(const char *why)
{
	perror(why);
	exit(125);
}

static void fail_on_return(pid_t thread)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, thread, 0, &regs))
		return;
	regs.orig_rax = (unsigned long long)-1;
	ptrace(PTRACE_SETREGS, thread, 0, &regs);
	failing = thread;
}

static void returned(pid_t thread)
{
	struct user_regs_struct regs;

	if (thread != failing || ptrace(PTRACE_GETREGS, thread, 0, &regs))
		return;
	regs.rax = (unsigned long long)-number;
	ptrace(PTRACE_SETREGS, thread, 0, &regs);
	failing = 0;
}

/* Write down a call; of those that take a path, with what is read of it, and of bpf(2) with its command. */
static void note(pid_t thread, long count, const struct ptrace_syscall_info *info)
{
	char path[PATH_BYTES] = "";
	struct iovec here = { path, sizeof(path) - 1 }, there = { 0, sizeof(path) - 1 };

	switch (info->entry.nr) {
	case SYS_openat:
		there.iov_base = (void *)(uintptr_t)info->entry.args[1];
		break;
	case SYS_mkdir:
	case SYS_rmdir:
	case SYS_unlink:
	case SYS_rename:
	case SYS_mount:
	case SYS_umount2:
		there.iov_base = (void *)(uintptr_t)info->entry.args[0];
		break;
	}
	if (info->entry.nr == SYS_bpf)
		snprintf(path, sizeof(path), "%llu", (unsigned long long)info->entry.args[0]);
	if (there.iov_base && process_vm_readv(thread, &here, 1, &there, 1, 0) < 0)
		path[0] = 0; /* it lies too near the end of a page */
	path[strcspn(path, "\n")] = 0;
	fprintf(list, "%ld %llu %s\n", count, (unsigned long long)info->entry.nr, path);
}

static void on_call(pid_t thread)
{
	static long count;
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		returned(thread);
		return;
	}
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	count++;
	if (list)
		note(thread, count, &info);
	if (count != at_index)
		return;
	if (what == AT_KILL)
		kill(command, SIGKILL);
	else if (what == AT_STOP)
		kill(command, (int)number);
	else if (what == AT_FAIL)
		fail_on_return(thread);
}

static int run(void)
{
	int status, signal_number;
	pid_t thread;

	for (;;) {
		thread = waitpid(-1, &status, __WALL);
		if (thread < 0)
			die("waitpid");
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (thread == command)
				return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
			continue;
		}
		signal_number = WSTOPSIG(status);
		if (signal_number == (SIGTRAP | 0x80)) {
			on_call(thread);
			signal_number = 0;
		} else if (signal_number == SIGTRAP || (thread != command && signal_number == SIGSTOP)) {
			signal_number = 0; /* an event, or a thread's first stop */
		}
		if (ptrace(PTRACE_SYSCALL, thread, 0, signal_number) && errno != ESRCH)
			die("PTRACE_SYSCALL");
	}
}

static int begin(char **arguments)
{
	int status;

	command = fork();
	if (command < 0)
		die("fork");
	if (command == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		execvp(arguments[0], arguments);
		die(arguments[0]);
	}
	if (waitpid(command, &status, 0) != command || !WIFSTOPPED(status))
		die("the command did not start");
	if (ptrace(PTRACE_SETOPTIONS, command, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL))
		die("PTRACE_SETOPTIONS");
	ptrace(PTRACE_SYSCALL, command, 0, 0);
	return run();
}

int main(int argc, char **argv)
{
	if (argc > 3 && !strcmp(argv[1], "list")) {
		what = AT_LIST;
		list = fopen(argv[2], "we");
		if (!list)
			die(argv[2]);
		return begin(argv + 3);
	}
	if (argc > 3 && !strcmp(argv[1], "kill")) {
		what = AT_KILL;
		at_index = atol(argv[2]);
		return begin(argv + 3);
	}
	if (argc > 4 && (!strcmp(argv[1], "fail") || !strcmp(argv[1], "stop"))) {
		what = argv[1][0] == 'f' ? AT_FAIL : AT_STOP;
		at_index = atol(argv[2]);
		number = atol(argv[3]);
		return begin(argv + 4);
	}
	fprintf(stderr, "usage: at list FILE | kill INDEX | fail INDEX ERRNO | stop INDEX SIGNAL   COMMAND...\n");
	return 2;
}
