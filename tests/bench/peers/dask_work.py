"""The same work by Dask, with one worker process of two threads: prints figures of one kind.

dask_work.py commands COUNT   /bin/true, output captured: tasks a second
dask_work.py futures COUNT    a function that does nothing, a future each: tasks a second
dask_work.py calls COUNT      one after the other: the median and the 99th percentile in microseconds
"""
import subprocess
import sys
import time

from distributed import Client, LocalCluster


def nothing(_):
    return None


def command(_):
    return subprocess.run(["/bin/true"], capture_output=True, check=True).stdout


def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster) as client:
        client.submit(nothing, 0).result()
        if kind == "calls":
            took = []
            for i in range(count):
                start = time.perf_counter()
                client.submit(nothing, i, pure=False).result()
                took.append((time.perf_counter() - start) * 1e6)
            took.sort()
            print(round(took[count // 2]), round(took[count * 99 // 100]))
        else:
            start = time.perf_counter()
            client.gather(client.map(command if kind == "commands" else nothing, range(count), pure=False))
            print(round(count / (time.perf_counter() - start)))


if __name__ == "__main__":
    main()
