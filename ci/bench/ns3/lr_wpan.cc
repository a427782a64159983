/* How many acknowledged frames a second ns-3's lr-wpan simulates: NODES in a dense grid, 60 bytes each, one at a time
 * from every node to its neighbour. Prints one line of JSON. Usage: lr_wpan NODES FRAMES
 */
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <ns3/core-module.h>
#include <ns3/lr-wpan-module.h>
#include <ns3/mobility-module.h>
#include <ns3/network-module.h>
#include <ns3/propagation-module.h>
#include <ns3/spectrum-module.h>

using namespace ns3;

static uint32_t received, confirmed;

static void Received(McpsDataIndicationParams, Ptr<Packet>)
{
	received++;
}

static void Confirmed(McpsDataConfirmParams params)
{
	confirmed += params.m_status == IEEE_802_15_4_SUCCESS;
}

static void Send(Ptr<LrWpanNetDevice> from, Mac16Address to)
{
	McpsDataRequestParams params;

	params.m_srcAddrMode = SHORT_ADDR;
	params.m_dstAddrMode = SHORT_ADDR;
	params.m_dstPanId = 0x781d;
	params.m_dstAddr = to;
	params.m_msduHandle = 0;
	params.m_txOptions = TX_OPTION_ACK;
	from->GetMac()->McpsDataRequest(params, Create<Packet>(60));
}

int main(int argc, char **argv)
{
	const uint32_t nodes = argc > 1 ? std::atoi(argv[1]) : 48;
	const uint32_t frames = argc > 2 ? std::atoi(argv[2]) : 1000;
	NodeContainer all;
	MobilityHelper grid;
	LrWpanHelper lrwpan;

	all.Create(nodes);
	grid.SetMobilityModel("ns3::ConstantPositionMobilityModel");
	grid.SetPositionAllocator("ns3::GridPositionAllocator", "DeltaX", DoubleValue(1.0), "DeltaY", DoubleValue(1.0),
				  "GridWidth", UintegerValue(25));
	grid.Install(all);
	NetDeviceContainer devices = lrwpan.Install(all);
	lrwpan.AssociateToPan(devices, 0x781d);
	for (uint32_t i = 0; i < nodes; i++) {
		Ptr<LrWpanNetDevice> device = devices.Get(i)->GetObject<LrWpanNetDevice>();

		device->GetMac()->SetMcpsDataIndicationCallback(MakeCallback(&Received));
		device->GetMac()->SetMcpsDataConfirmCallback(MakeCallback(&Confirmed));
	}
	for (uint32_t i = 0; i < frames; i++) {
		Ptr<LrWpanNetDevice> from = devices.Get(i % nodes)->GetObject<LrWpanNetDevice>();
		Ptr<LrWpanNetDevice> to = devices.Get((i + 1) % nodes)->GetObject<LrWpanNetDevice>();

		Simulator::Schedule(Seconds(1.0 + 0.02 * i), &Send, from, to->GetMac()->GetShortAddress());
	}
	Simulator::Stop(Seconds(2.0 + 0.02 * frames));
	const std::clock_t begun = std::clock();
	Simulator::Run();
	const double took = double(std::clock() - begun) / CLOCKS_PER_SEC;

	std::printf("{\"nodes\": %u, \"frames\": %u, \"received\": %u, \"acknowledged\": %u, \"seconds\": %.4f}\n", nodes, frames,
		    received, confirmed, took);
	Simulator::Destroy();
	return 0;
}
