// SPDX-License-Identifier: Apache-2.0
/* Run a command and, at one of its system calls, kill it or have that call fail.
 *
 *     tracer list FILE 0 0 0 COMMAND...              write "NUMBER ABOUT" of every system call to FILE
 *     tracer kill NUMBER ABOUT TURN 0 COMMAND...     SIGKILL before that call is done
 *     tracer fail NUMBER ABOUT TURN ERRNO COMMAND...
 *     tracer stop NUMBER ABOUT TURN SIGNAL COMMAND...   another signal, there
 *
 * ABOUT is the path of a call that takes one, or the command of bpf(2), or empty. TURN
 * counts the calls with NUMBER and ABOUT from 1, those of all threads together, from the
 * exec on. Children that the command forks are not traced. Ends with the command's exit
 * code, or with 128 + signal.
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
static unsigned long long at_number;
static const char *at_about;
static long at_turn;
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

/* Return the path or the bpf(2) command of a call. */
static const char *about(pid_t thread, const struct ptrace_syscall_info *info)
{
	static char text[PATH_BYTES];
	struct iovec here = { text, sizeof(text) - 1 }, there = { 0, sizeof(text) - 1 };

	memset(text, 0, sizeof(text));
	switch (info->entry.nr) {
	case SYS_bpf:
		snprintf(text, sizeof(text), "%llu", (unsigned long long)info->entry.args[0]);
		break;
	case SYS_openat:
	case SYS_mkdirat:
	case SYS_unlinkat:
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
	if (there.iov_base && process_vm_readv(thread, &here, 1, &there, 1, 0) < 0)
		text[0] = 0; /* it lies too near the end of a page */
	text[strcspn(text, "\n")] = 0;
	return text;
}

static void on_call(pid_t thread)
{
	static long count;
	struct ptrace_syscall_info info;
	const char *said;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
		returned(thread);
		return;
	}
	if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	said = about(thread, &info);
	if (list)
		fprintf(list, "%llu %s\n", (unsigned long long)info.entry.nr, said);
	if (what == AT_LIST || info.entry.nr != at_number || strcmp(said, at_about) || ++count != at_turn)
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
	static const char *const words[] = { "list", "kill", "fail", "stop" };

	for (what = AT_LIST; argc > 6 && what <= AT_STOP; what++)
		if (!strcmp(argv[1], words[what]))
			break;
	if (argc <= 6 || what > AT_STOP) {
		fprintf(stderr, "usage: tracer list|kill|fail|stop FILE-OR-NUMBER ABOUT TURN ERRNO-OR-SIGNAL COMMAND...\n");
		return 2;
	}
	if (what == AT_LIST) {
		list = fopen(argv[2], "we");
		if (!list)
			die(argv[2]);
	}
	at_number = strtoull(argv[2], NULL, 10);
	at_about = argv[3];
	at_turn = atol(argv[4]);
	number = atol(argv[5]);
	return begin(argv + 6);
}
